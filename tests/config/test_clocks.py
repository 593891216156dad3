"""Check a process with a wrong clock: the database's clock decides, and the process estimates it."""

from __future__ import annotations

import time
import uuid

import pytest
from django.db import DatabaseError
from django.db.models.functions import Now

from base import clock
from base.asking import Buyer
from config.celery import CLOCKS_APART, app
from config.run.serving import clock as serving
from ticketing import identity
from ticketing.models import SandboxEvent
from ticketing.payments.gateways import fake, signatures
from ticketing.refusals import UnsignedWebhook


@pytest.fixture(params=[-300.0, 300.0])
def off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Set this process's clock ahead by this many seconds."""
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + request.param)
    monkeypatch.setattr(clock, "_ahead", 0.0)
    return float(request.param)


@pytest.mark.django_db
def test_the_databases_time_is_reckoned_once_it_was_asked(off: float) -> None:
    apart = (clock.reckoned_now() - clock.db_now()).total_seconds()
    assert apart == pytest.approx(off, abs=5)
    assert (clock.reckoned_now() - clock.db_now()).total_seconds() == pytest.approx(0, abs=5)


@pytest.mark.parametrize("ahead", [300.0, -300.0])
def test_a_token_ends_by_the_databases_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    token = {left: identity._token(identity.new_guest(), kind="access", seconds=left) for left in (100, -100)}  # noqa: SLF001
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead)
    monkeypatch.setattr(clock, "_ahead", -ahead)
    assert identity.read_token(token[100]).is_guest
    with pytest.raises(identity.InvalidToken):
        identity.read_token(token[-100])


def test_a_token_from_a_clock_ahead_of_ours_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    buyer = Buyer(id=uuid.uuid4(), is_guest=True)
    monkeypatch.setattr(clock, "_ahead", 300.0)
    token = identity.issue_tokens(buyer)["access"]
    monkeypatch.setattr(clock, "_ahead", 0.0)
    assert identity.read_token(token).id == buyer.id


@pytest.mark.django_db
def test_a_genuine_webhook_is_taken_by_a_process_whose_clock_is_off(off: float) -> None:
    body, headers = fake.signed(SandboxEvent(attempt=uuid.uuid4(), kind="payment.captured", due_at=Now()))
    assert fake.read_notice(body, headers).kind == "payment.captured"


@pytest.mark.django_db
def test_an_old_webhook_is_refused_by_a_process_whose_clock_is_off(off: float) -> None:
    body = b"{}"
    secret = b"secret"
    for age in (-400, 400):
        header = signatures.sign(body, secret=secret, at=clock.db_now().timestamp() - age)
        with pytest.raises(UnsignedWebhook, match="too old"):
            signatures.verify(body, header, secret=secret)


def test_a_job_of_beat_outlives_the_difference_of_two_clocks() -> None:
    """Check that no job is expired when it reaches a worker whose clock is ahead of beat's."""
    schedule = app.conf.beat_schedule
    assert schedule
    for name, entry in schedule.items():
        assert entry["options"]["expires"] > CLOCKS_APART >= 600, name


def test_a_process_goes_on_by_its_own_clock_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(serving, "db_now", away)
    assert not serving.ask()
    assert serving.http_date().endswith(b" GMT")
