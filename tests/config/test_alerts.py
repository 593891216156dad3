"""Check with promtool that each alert fires when it should, is quiet when it should, and says what to do."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
TEN_SECONDS = "10s"
WELL, GONE = "1x60", "0x60"
GROWS, STANDS = "0+2x60", "5x60"

Series = dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Describe an alert. `fires` is a trouble that makes it fire by `by`, `quiet` is one that must not."""

    fires: Series
    quiet: Series
    by: str = TEN_SECONDS


def up(*jobs: str) -> Series:
    return {f'up{{job="{job}",instance="a"}}': WELL for job in jobs}


def ok(check: str, values: str) -> Series:
    labels = f'job="web",instance="a",check="{check}"'
    return {f"frontrow_check_ok{{{labels}}}": values}


def silent(part: str, web: str, relay: str) -> Series:
    """Return the series as a web process and a relay export them."""
    return {
        f'frontrow_part_silent{{job="{job}",part="{part}"}}': told for job, told in (("web", web), ("relay", relay))
    }


def of_a_part(part: str) -> Case:
    return Case(fires=silent(part, WELL, WELL), quiet=silent(part, GONE, GONE))


def of_a_check(check: str) -> Case:
    return Case(fires=ok(check, GONE), quiet=ok(check, WELL))


EVERY_JOB = ("web", "live", "worker", "payments", "jobs", "beat", "relay")
RATE = "frontrow_requests_total"
CASES = {
    "ProcessDown": Case(fires={'up{job="worker",instance="a"}': GONE}, quiet=up("worker")),
    "ProcessMissing": Case(fires=up(*EVERY_JOB[:-1]), quiet=up(*EVERY_JOB)),
    "NobodyAllocates": of_a_part("worker"),
    "NobodyTakesPayments": of_a_part("payments"),
    "NobodyDoesJobs": of_a_part("jobs"),
    "BeatSilent": of_a_part("beat"),
    "RelaySilent": of_a_part("relay"),
    "NoActiveRelay": Case(
        fires={'frontrow_relay_active{instance="a"}': GONE},
        quiet={'frontrow_relay_active{instance="a"}': WELL, 'frontrow_relay_active{instance="b"}': GONE},
    ),
    "TwoActiveRelays": Case(
        fires={'frontrow_relay_active{instance="a"}': WELL, 'frontrow_relay_active{instance="b"}': WELL},
        quiet={'frontrow_relay_active{instance="a"}': "1x2 0x60", 'frontrow_relay_active{instance="b"}': "0x2 1x60"},
    ),
    "RelayDutyFails": Case(
        fires={'frontrow_relay_failures_total{duty="publish"}': GROWS},
        quiet={'frontrow_relay_failures_total{duty="publish"}': STANDS},
    ),
    "QueueUndrained": Case(
        fires={'frontrow_queue_undrained{queue="holds.0"}': WELL},
        quiet={'frontrow_queue_undrained{queue="holds.0"}': GONE},
    ),
    "DatabaseGone": of_a_check("database"),
    "RedisGone": of_a_check("cache"),
    "BrokerGone": of_a_check("broker"),
    "NotMigrated": of_a_check("migrations"),
    "MemoryShort": of_a_check("memory"),
    "DiskShort": of_a_check("disk"),
    "BreakerOpen": Case(
        fires={'frontrow_breaker_open{dependency="redis"}': WELL},
        quiet={
            'frontrow_breaker_open{dependency="redis"}': GONE,
            'frontrow_breaker_open{dependency="gateway.stripe"}': WELL,
        },
    ),
    "GatewayUnreachable": Case(
        fires={'frontrow_breaker_open{dependency="gateway.stripe"}': WELL},
        quiet={'frontrow_breaker_open{dependency="redis"}': WELL},
    ),
    "FiguresMissing": Case(
        fires={'frontrow_figures_missing{job="web",source="database"}': WELL},
        quiet={
            'frontrow_figures_missing{job="web",source="database"}': WELL,
            'frontrow_figures_missing{job="relay",source="database"}': GONE,
        },
    ),
    "NothingAllocates": Case(
        fires={
            'frontrow_admitted_total{outcome="admitted"}': GROWS,
            'frontrow_allocated_total{outcome="held"}': STANDS,
        },
        quiet={'frontrow_admitted_total{outcome="admitted"}': GROWS, 'frontrow_allocated_total{outcome="held"}': GROWS},
    ),
    "InboxStuck": Case(
        fires={"frontrow_inbox_age_seconds": "9+2x60"}, quiet={"frontrow_inbox_age_seconds": "0 3 0 5 0x60"}
    ),
    "QueueBehind": Case(
        fires={'frontrow_queue_age_seconds{queue="holds.0"}': "0+2x60"},
        quiet={'frontrow_queue_age_seconds{queue="holds.0"}': "0 2 0 2 0x60"},
        by="80s",
    ),
    "QueueGrows": Case(
        fires={'frontrow_queue_messages{queue="holds.0"}': "600x60", 'frontrow_queue_messages{queue="holds.1"}': "600x60"},
        quiet={'frontrow_queue_messages{job="web",queue="holds.0"}': "600x60", "frontrow_inbox_waiting": "600x60"},
        by="70s",
    ),
    "JobsPileUp": Case(
        fires={'frontrow_queue_messages{queue="mail"}': "2000x60"},
        quiet={'frontrow_queue_messages{queue="mail"}': "2000x3 0x60"},
        by="70s",
    ),
    "EventsLate": Case(
        fires={"frontrow_events_age_seconds": "9+2x60"}, quiet={"frontrow_events_age_seconds": "0 1 0 1 0x60"}
    ),
    "DeadLetters": Case(
        fires={'frontrow_dead_letters_waiting{queue="mail"}': WELL},
        quiet={'frontrow_dead_letters_waiting{queue="mail"}': GONE},
    ),
    "HoldsOverdue": Case(fires={"frontrow_holds_overdue": "1x60"}, quiet={"frontrow_holds_overdue": GONE}),
    "PaymentsStuck": Case(
        fires={"frontrow_payments_open_age_seconds": "59+2x60"},
        quiet={"frontrow_payments_open_age_seconds": "0+2x20 0x60"},
    ),
    "RefundsStuck": Case(
        fires={"frontrow_refunds_open_age_seconds": "299+2x60"},
        quiet={"frontrow_refunds_open_age_seconds": "0+2x60"},
    ),
    "RefundsRefused": Case(fires={"frontrow_refunds_refused": WELL}, quiet={"frontrow_refunds_refused": GONE}),
    "AuditFound": Case(
        fires={'frontrow_audit_findings{check="seat_sold_twice"}': WELL},
        quiet={'frontrow_audit_findings{check="seat_sold_twice"}': GONE},
    ),
    # promtool's clock begins at zero
    "AuditMissing": Case(
        fires={"frontrow_audit_finished_timestamp_seconds": "1x2000"},
        quiet={"frontrow_audit_finished_timestamp_seconds": "0x2000"},
        by="62m",
    ),
    "AuditNeverEnds": Case(
        fires={"frontrow_audit_finished_timestamp_seconds": "0x2000"},
        quiet={"frontrow_audit_finished_timestamp_seconds": "1x2000"},
        by="31m",
    ),
    "AnswersFail": Case(
        fires={f'{RATE}{{view="shop",status="200"}}': GROWS, f'{RATE}{{view="shop",status="500"}}': GROWS},
        quiet={f'{RATE}{{view="shop",status="200"}}': GROWS, f'{RATE}{{view="none",status="503"}}': GROWS},
    ),
    "DoorSlow": Case(
        fires={'frontrow_admit_seconds_bucket{le="1"}': STANDS, 'frontrow_admit_seconds_bucket{le="2.5"}': GROWS,
               'frontrow_admit_seconds_bucket{le="+Inf"}': GROWS},
        quiet={'frontrow_admit_seconds_bucket{le="1"}': GROWS, 'frontrow_admit_seconds_bucket{le="+Inf"}': GROWS},
        by="20s",
    ),
    "LiveUpdatesLost": Case(
        fires={"frontrow_wire_lost_total": GROWS}, quiet={"frontrow_wire_lost_total": STANDS}, by="20s"
    ),
}  # fmt: skip


def test_every_alert_is_tried_out() -> None:
    assert CASES.keys() == ALERTS.keys()


def test_promtool_finds_the_configuration_sound() -> None:
    promtool("check", "config", str(ROOT / "deploy/prometheus/prometheus.yml"))


def test_each_fires_in_time_and_only_for_its_reason(tmp_path: Path) -> None:
    tests = [
        trial(name, series, at=case.by, firing=firing)
        for name, case in CASES.items()
        for series, firing in ((case.fires, True), (case.quiet, False))
    ]
    wanted = {
        "rule_files": [str(RULES)],
        "evaluation_interval": PROMETHEUS["global"]["evaluation_interval"],
        "tests": tests,
    }
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(wanted))
    promtool("test", "rules", str(tmp_path / "alerts.test.yml"))


def trial(alert: str, series: Series, *, at: str, firing: bool) -> dict[str, Any]:
    return {
        "name": f"{alert} {'fires' if firing else 'is quiet'}",
        "interval": PROMETHEUS["global"]["scrape_interval"],
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)',
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": float(firing)}],
            }
        ],
    }


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], check=False, capture_output=True, text=True)  # noqa: S607
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_says_what_happened_and_what_to_do(name: str) -> None:
    told = ALERTS[name]["annotations"]
    assert told["summary"]
    assert told["what_to_do"].rstrip().endswith(".")
    assert ALERTS[name]["labels"]["severity"] in {"page", "warn"}


def test_an_operator_reads_of_every_alert() -> None:
    _before, _title, section = (ROOT / "docs/operator.md").read_text().partition("### Alerts\n")
    told = set(re.findall(r"^\| `([A-Z]\w+)` \|", section.partition("\n### ")[0], flags=re.MULTILINE))
    assert told == ALERTS.keys()
