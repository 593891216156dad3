"""Check that deployed files name existing processes, metrics and services."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AVAILABLE = {"frontrow_memory_available_bytes", "frontrow_disk_available_bytes"}
APPS = ["config", "ticketing", "reservations", "sessions_app", "realtime", "base"]


def counted_metrics() -> set[str]:
    """Return the names as Prometheus shows them; the client adds `_total` to counters that lack it."""
    source = "\n".join(file.read_text() for app in APPS for file in (ROOT / app).rglob("*.py"))
    found = re.findall(r'(Counter|Gauge|Histogram)\(\s*"(frontrow_\w+)"', source)
    counted = {name.removesuffix("_total") + "_total" if kind == "Counter" else name for kind, name in found}
    collected = re.findall(
        r'"(frontrow_\w+)",', source
    )  # from a collector of ours, which makes its metrics at each scrape
    return counted | (set(collected) - {name for _kind, name in found}) | AVAILABLE


def metrics_in(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"frontrow_[a-z_]+[a-z]", text)}


@pytest.mark.parametrize(
    "document",
    ["deploy/grafana/dashboards/frontrow.json", "deploy/prometheus/alerts.yml", "docs/operator.md", "docs/scaling.md"],
)
def test_a_metric_that_is_shown_is_counted(document: str) -> None:
    assert metrics_in((ROOT / document).read_text()) - counted_metrics() == set()


def test_an_operator_is_told_of_every_metric() -> None:
    assert counted_metrics() - metrics_in((ROOT / "docs/operator.md").read_text()) == set()


def test_every_process_of_the_compose_file_is_a_command() -> None:
    words = [" ".join(service["command"]) for service in SERVICES.values() if isinstance(service.get("command"), list)]
    started = {command for line in words for command in re.findall(r"manage\.py (\w+)", line)}
    assert started == {"web", "live", "worker", "beat", "relay"}
    assert started <= set(get_commands())


def test_every_command_that_operators_read_about_exists() -> None:
    told = set(re.findall(r"manage\.py (\w+)", (ROOT / "docs/operator.md").read_text()))
    assert told - set(get_commands()) == set()


def test_nothing_of_the_site_starts_before_the_tables_are_there() -> None:
    processes = [service for service in SERVICES.values() if service.get("build") and service.get("restart") != "no"]
    assert len(processes) == 7
    for process in processes:
        assert process["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_a_process_without_http_is_healthy_by_its_pulse() -> None:
    for name in ("worker", "payments", "jobs", "beat", "relay"):
        assert SERVICES[name]["environment"]["PULSE_FILE"]
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "python", "deploy/healthcheck.py", "--pulse"]
        assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize(
    ("said", "age", "healthy"), [("at work", 0, True), ("waiting", 0, False), ("at work", 60, False), (None, 0, False)]
)
def test_healthcheck_reads_the_pulse(tmp_path: Path, said: str | None, age: float, healthy: bool) -> None:
    pulse = tmp_path / "pulse"
    if said is not None:
        pulse.write_text(said)
        os.utime(pulse, (time.time() - age,) * 2)
    ended = subprocess.run(
        [sys.executable, ROOT / "deploy/healthcheck.py", "--pulse"], env={"PULSE_FILE": str(pulse)}, check=False
    )
    assert ended.returncode == (0 if healthy else 1)


def test_whatever_others_wait_for_says_when_it_is_healthy() -> None:
    awaited = {
        name
        for service in SERVICES.values()
        for name, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_healthy"
    }
    checked_in_the_image = {"web", "live"}
    assert {name for name in awaited - checked_in_the_image if "test" not in SERVICES[name]["healthcheck"]} == set()


def test_only_the_proxy_is_public() -> None:
    open_wide = {
        name
        for name, service in SERVICES.items()
        for port in service.get("ports", [])
        if not port.startswith("127.0.0.1:")
    }
    assert open_wide == {"proxy"}


def test_the_processes_believe_the_proxy_alone() -> None:
    address = SERVICES["proxy"]["networks"]["front"]["ipv4_address"]
    assert SERVICES["web"]["environment"]["TRUSTED_PROXIES"] == address


def test_prometheus_reads_services_that_exist() -> None:
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    names = {name for job in jobs for source in job.get("dns_sd_configs", []) for name in source["names"]}
    assert names == {"web", "live", "worker", "payments", "jobs", "beat", "relay"}
    assert names <= set(SERVICES)


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/frontrow.json").read_text())
    asked = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel}
    assert asked == {source["uid"] for source in provisioned["datasources"]}
