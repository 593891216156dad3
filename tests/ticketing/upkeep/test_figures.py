"""Check the figures that Prometheus gets of the installation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.utils import timezone
from prometheus_client import CollectorRegistry

from base.ids import uuid7
from realtime import events
from realtime.audit import Check
from reservations import checks
from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest, Reservation
from reservations.queueing import inbox, liveness
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import SessionFactory, StockFactory
from tests.processes import free_port
from tests.reservations.test_holding import run_out
from ticketing.models import Payment, Refund, RefundStatus, Sale
from ticketing.payments import starting, steps
from ticketing.upkeep import auditing, figures
from ticketing.upkeep.figures import Installation

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = dt.timedelta(minutes=5)


class Scrape:
    """Return what one scrape reports."""

    def __init__(self, installation: Installation | None = None) -> None:
        installation = installation or Installation()
        installation.examination.deadline = 30  # a busy machine is not an outage
        registry = CollectorRegistry(auto_describe=False)
        registry.register(installation)
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in registry.collect()
            for sample in metric.samples
        }

    def __getitem__(self, name: str) -> float:
        return self._samples[f"frontrow_{name}", frozenset()]

    def of(self, name: str, **labels: str) -> float | None:
        return self._samples.get((f"frontrow_{name}", frozenset(labels.items())))

    def labels(self, name: str, label: str) -> set[str]:
        return {dict(labels)[label] for found, labels in self._samples if found == f"frontrow_{name}"}


def waits(session: Session, *, since: dt.timedelta) -> None:
    """Put a request into the inbox."""
    request = HoldRequest(
        id=uuid7(), session=session.pk, buyer=uuid4(), arrival=1, quantity=1, accepted_at=timezone.now()
    )
    inbox.store([request], shard_for=lambda _request: 0)
    InboxRequest.objects.filter(pk=request.id).update(accepted_at=timezone.now() - since)


class TestWhatWaits:
    def test_waiting_work_is_counted_with_its_age_where_the_inbox_is_the_queue(self, session: Session) -> None:
        waits(session, since=LONG_AGO)
        waits(session, since=dt.timedelta())

        scrape = Scrape()

        assert scrape["inbox_waiting"] == 2
        assert scrape["inbox_age_seconds"] == pytest.approx(300, abs=30)

    def test_waiting_work_is_not_late_where_its_session_is_slowed_down_on_purpose(self, session: Session) -> None:
        waits(session, since=LONG_AGO)
        Session.objects.filter(pk=session.pk).update(settle_rate=1)

        scrape = Scrape()

        assert (scrape["inbox_waiting"], scrape["inbox_age_seconds"]) == (1, 0)

    def test_waiting_work_to_be_published_is_counted(self) -> None:
        events.record(event="test", session=None, facts={})

        assert Scrape()["events_waiting"] == 1

    def test_waiting_work_to_be_paid_or_paid_back_is_counted(self, session: Session, hold: Hold) -> None:
        open_one = start(hold(session, "A1", buyer=uuid4()))
        Payment.objects.filter(pk=open_one.pk).update(started_at=timezone.now() - LONG_AGO)
        paid = start(hold(session, "A2", buyer=uuid4()))
        steps.finish_payment(payment_id=paid.pk)
        sale = Sale.objects.get(payment=paid)
        Refund.objects.create(sale=sale, amount=1, status=RefundStatus.REFUSED)
        Refund.objects.create(sale=sale, amount=1, asked_at=timezone.now() - LONG_AGO)

        scrape = Scrape()

        assert scrape["payments_open"] == scrape["refunds_open"] == scrape["refunds_refused"] == 1
        assert scrape["payments_open_age_seconds"] == pytest.approx(300, abs=30)
        assert scrape["refunds_open_age_seconds"] == pytest.approx(300, abs=30)

    def test_waiting_work_to_be_freed_is_overdue_after_a_few_seconds(self, session: Session, hold: Hold) -> None:
        hold(session, "A1", buyer=uuid4())
        late = hold(session, "A2", buyer=uuid4())
        run_out(late)
        assert (Scrape()["holds_live"], Scrape()["holds_overdue"]) == (1, 0)

        Reservation.objects.filter(pk=late.pk).update(expires_at=timezone.now() - LONG_AGO)

        assert Scrape()["holds_overdue"] == 1


class TestSessions:
    def test_sessions_on_sale_are_shown_by_demand_and_the_others_as_one_sum(
        self, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(figures, "SESSIONS_SHOWN", 1)
        quiet, wanted, stock = SessionFactory.create(), SessionFactory.create(), StockFactory.create(capacity=7)
        SessionFactory.create(on_sale_at=timezone.now() + dt.timedelta(hours=1))
        hold(wanted, "A1", "A2", buyer=uuid4())

        scrape = Scrape()

        assert scrape.labels("session_free_places", "session") == {str(wanted.pk), "others"}
        assert scrape.of("session_held_places", session=str(wanted.pk)) == 2
        assert scrape.of("session_free_places", session=str(wanted.pk)) == 14
        others = Session.objects.filter(pk__in=[quiet.pk, stock.session_id])
        assert scrape.of("session_free_places", session="others") == 7 + sum(row.free_seats for row in others)


class TestProcesses:
    def test_processes_that_are_silent_are_told_with_the_seconds(self) -> None:
        liveness.consumes(["payments"])
        liveness.worked("beat")

        scrape = Scrape()

        assert scrape.of("part_silent", part="payments") == scrape.of("part_silent", part="beat") == 0
        assert scrape.of("part_silent", part="worker") == scrape.of("part_silent", part="relay") == 1
        silent = scrape.of("consumer_silent_seconds", queue="mail")
        assert silent is not None
        assert silent > 60


class TestWithoutADependency:
    def test_scrape_says_what_is_missing_and_tells_the_rest(self, settings: LazySettings) -> None:
        settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

        scrape = Scrape()

        missing = {name: scrape.of("figures_missing", source=name) for name in ("database", "consumers")}
        assert missing == {"database": 0, "consumers": 1}
        assert scrape["inbox_waiting"] == 0

    def test_scrape_never_fails_without_the_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**_options: object) -> None:
            raise ConnectionRefusedError

        monkeypatch.setattr(checks, "own_connection", refuse)

        assert Scrape().of("figures_missing", source="database") == 1


class TestAudit:
    def test_audit_tells_findings_by_check_and_when_it_ended(self, session: Session, hold: Hold) -> None:
        run_out(hold(session, "A1", buyer=uuid4()))
        Reservation.objects.update(expires_at=timezone.now() - dt.timedelta(hours=1))

        auditing.audit()

        told = {
            sample.labels["check"]: sample.value for metric in auditing.findings.collect() for sample in metric.samples
        }
        assert {name for name, found in told.items() if found} == {"hold_past_its_end"}
        assert told.keys() == {check.name for check in auditing.CHECKS}
        (ended,) = (sample.value for metric in auditing.finished.collect() for sample in metric.samples)
        assert ended == pytest.approx(timezone.now().timestamp(), abs=60)

    def test_failed_check_leaves_the_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> Iterator[dict[str, Any]]:
            raise KeyError("not a database's error")

        broken_check = Check(name="broken", says="nothing", look=broken)
        monkeypatch.setattr(auditing, "CHECKS", [broken_check, *auditing.CHECKS])
        auditing.forget()
        with pytest.raises(auditing.Unfinished, match="broken"):
            auditing.audit()
        told = {sample.labels["check"] for metric in auditing.findings.collect() for sample in metric.samples}
        assert told == {check.name for check in auditing.CHECKS} - {"broken"}

    def test_audit_tells_nothing_any_more_when_another_relay_is_active(self) -> None:
        auditing.audit()

        auditing.forget()

        assert [sample for metric in auditing.findings.collect() for sample in metric.samples] == []


def start(reservation: Reservation) -> Payment:
    return starting.start_payment(reservation_id=reservation.pk, buyer=reservation.buyer, method="fake", token="ok")
