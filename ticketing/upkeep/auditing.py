"""Run the audit periodically in the relay that publishes. Metrics show its findings and when it last ended."""

from __future__ import annotations

import time

import structlog
from django.db import connection, transaction
from prometheus_client import Gauge

import realtime.audit
import reservations.audit
import ticketing.upkeep.audit
from realtime.audit import Check

CHECKS = [*reservations.audit.CHECKS, *ticketing.upkeep.audit.CHECKS, *realtime.audit.CHECKS]
STATEMENT_SECONDS = 60  # a longer check is given up: no person waits for it, and sales need the database

findings = Gauge(
    "frontrow_audit_findings",
    "Findings of the last audit, by check; counted up to 100.",
    ["check"],
    multiprocess_mode="mostrecent",
)
finished = Gauge(
    "frontrow_audit_finished_timestamp_seconds", "The time when the last audit ended.", multiprocess_mode="mostrecent"
)
seconds = Gauge("frontrow_audit_seconds", "Seconds that the last audit took.", multiprocess_mode="mostrecent")

log = structlog.get_logger(__name__)


class Unfinished(Exception):
    """Report that some checks had no answer; the others have reported theirs."""


def audit() -> None:
    """Run every check, and report how much it found. Raises: Unfinished."""
    started, without_answer = time.monotonic(), []
    for check in CHECKS:
        try:
            found = _count(check)
        except Exception as error:  # noqa: BLE001 one check that can't be made leaves the others
            log.warning("audit.unanswered", check=check.name, error=repr(error))
            without_answer.append(check.name)
            continue
        findings.labels(check.name).set(found)
        if found:
            log.error("audit.found", check=check.name, findings=found, says=check.says)
    if without_answer:
        raise Unfinished(", ".join(without_answer))
    seconds.set(time.monotonic() - started)
    finished.set(time.time())


def forget() -> None:
    """Report nothing from now on: another process audits now."""
    findings.clear()
    finished.set(0)


def _count(check: Check) -> int:
    if check.look is not None:  # it also calls other services, and no transaction may wait for these
        return len(list(realtime.audit.run([check])))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        return len(list(realtime.audit.run([check])))
