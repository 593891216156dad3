from __future__ import annotations

import datetime as dt
import uuid
from typing import get_args

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from config.web.openapi import problem_shapes
from reservations.admission import front_door
from reservations.claims import claims, keys
from reservations.models import Reservation
from reservations.operations import sweeps
from reservations.refusals import SeatsUnavailable
from sessions_app.models import Session
from tests.conftest import Hold

pytestmark = pytest.mark.django_db(transaction=True)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_outcome_is_counted_with_the_time_it_took(session: Session, hold: Hold, ana: uuid.UUID) -> None:
    before = counted("frontrow_allocated_total", outcome="held"), counted("frontrow_queue_seconds_count")
    hold(session, "A1", buyer=ana)
    after = counted("frontrow_allocated_total", outcome="held"), counted("frontrow_queue_seconds_count")
    assert after == (before[0] + 1, before[1] + 1)


def test_refusal_by_postgresql_is_counted_apart(session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
    hold(session, "A1", buyer=ana)
    claims.client().delete(keys.claim_key(session.pk, "A1"))
    before = counted("frontrow_allocated_total", outcome="rejected")
    hold(session, "A1", buyer=bruno)
    assert counted("frontrow_allocated_total", outcome="rejected") == before + 1


def test_expired_hold_is_counted_once(session: Session, hold: Hold, ana: uuid.UUID) -> None:
    held = hold(session, "A1", buyer=ana)
    Reservation.objects.filter(pk=held.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    before = counted("frontrow_expired_total")
    sweeps.expire_holds()
    sweeps.expire_holds()
    assert counted("frontrow_expired_total") == before + 1


def test_refusal_at_admission_is_counted_by_the_code_of_its_answer(
    session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
) -> None:
    hold(session, "A1", buyer=ana)
    before = counted("frontrow_admitted_total", outcome="seats_unavailable", queue="none")
    with pytest.raises(SeatsUnavailable):
        hold(session, "A1", buyer=bruno)
    assert counted("frontrow_admitted_total", outcome="seats_unavailable", queue="none") == before + 1


def test_admission_refuses_in_the_words_of_the_api() -> None:
    codes = {kind.code for kind in get_args(front_door.Refusal)}
    assert codes <= {code for code, _status in problem_shapes.known()}
