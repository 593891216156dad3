"""Around the end of a hold: its payment, its sweep, its release and late money race. One wins, and no money is lost."""

from __future__ import annotations

import datetime as dt
import random
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from base.clock import db_now
from realtime.models import Event
from reservations.allocation import locks
from reservations.allocation.announcements import Announcements
from reservations.models import Reservation, Status
from reservations.operations import sweeps
from reservations.operations.holding import release
from reservations.operations.sweeps import expire_holds
from reservations.refusals import AlreadyPaid, NotHeld, PaymentInProgress, ReservationExpired
from sessions_app.models import Seat, Session
from tests.conftest import Hold
from tests.factories import SessionFactory
from tests.race.racing import ROUNDS, race
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.models import LedgerEntry, Payment, Refund, Sale, SandboxCharge, SandboxEvent
from ticketing.payments import starting, steps, sweeping, webhooks
from ticketing.payments.gateways import fake

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]

AT_ONCE = 5  # interleavings a round: with 200 rounds, 1,000
WINS_OR_LOSES = (str, AlreadyPaid, NotHeld, PaymentInProgress, ReservationExpired)


@pytest.fixture(autouse=True)
def _the_gateway_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)


def start_alone(reservation: Reservation) -> Payment:
    """Start a payment as another process would: in a transaction of its own, whatever runs meanwhile.

    Raises what it raises.
    """
    ask = starting._Start(  # noqa: SLF001 past the batches, which would line the threads up
        reservation=reservation.pk, buyer=reservation.buyer, method="fake", token="ok", email="", language="en"
    )
    (outcome,) = starting._start_all([ask])  # noqa: SLF001
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def pay_alone(reservation: Reservation) -> str:
    steps.finish_payment(payment_id=start_alone(reservation).pk)
    return "paid"


def release_it(reservation: Reservation) -> str:
    release(reservation_id=reservation.pk, buyer=reservation.buyer)
    return "released"


def sweep(reservation: Reservation) -> str:
    while Reservation.objects.filter(pk=reservation.pk, status=Status.HELD).exists():
        expire_holds()
    return "swept"


def late_money(payment: Payment) -> str:
    event = SandboxEvent.objects.get(attempt=payment.pk)
    SandboxCharge.objects.filter(pk=payment.pk, status=fake.LATE_STATUS).update(status="captured")
    body, headers = fake.signed(event)
    webhooks.receive("fake", body=body, headers=headers)
    steps.finish_payment(payment_id=payment.pk)
    return "told"


class Clock:
    """The clock that judges a race: a millisecond before the end of the holds, that instant, or one after."""

    def __init__(self, end: dt.datetime, chance: random.Random) -> None:
        self.end = end
        self.chance = chance
        self.told: Counter[int] = Counter()

    def now(self) -> dt.datetime:
        off = self.chance.choice((-1, 0, 1))
        self.told[off] += 1
        return self.end + dt.timedelta(milliseconds=off)


@pytest.mark.parametrize("clock", ["at the deadline", "of the database"])
def test_end_of_a_hold_has_one_winner_and_conserves_money(
    clock: str, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Race around the end: half is judged at T-1 ms, T or T+1 ms, half by the real clock.

    200 rounds are 1,000 races.
    """
    winners: Counter[str] = Counter()
    told: Counter[int] = Counter()
    rounds = max(ROUNDS // 2, 4)
    for number in range(rounds):
        chance = random.Random(f"{clock} {number}")  # noqa: S311 the same dice in every run, no secrets
        session = SessionFactory.create()
        holds = [hold(session, f"{'ABCD'[n % 4]}{1 + n // 4}", buyer=uuid.uuid4()) for n in range(AT_ONCE)]
        late = {held.pk: pay(held, "webhook_late") for held in holds[::2]}
        with monkeypatch.context() as patch:
            if clock == "at the deadline":
                judge = Clock(run_out_together(holds), chance)
                patch.setattr(locks, "db_now", judge.now)
                patch.setattr(sweeps, "db_now", judge.now)
                winners += outcome_of(holds, late)
                told += judge.told
            else:
                run_out_soon(holds, chance)
                winners += outcome_of(holds, late)
    assert winners.total() == AT_ONCE * rounds
    assert winners["expired"]
    if told:
        assert {"paid", "released"} <= set(winners)
        assert set(told) == {-1, 0, 1}
    Event.objects.update(published_at=Now())
    assert audit()["findings"] == []


def run_out_together(holds: Sequence[Reservation]) -> dt.datetime:
    """Let the holds' time pass, so that the sweep looks at them; the clock says how each is judged."""
    end = db_now() - dt.timedelta(seconds=1)
    ends_at(holds, [end] * len(holds))
    return end


def run_out_soon(holds: Sequence[Reservation], chance: random.Random) -> None:
    now = db_now()
    ends_at(holds, [now + dt.timedelta(milliseconds=chance.randrange(10, 90) + n) for n in range(len(holds))])


def ends_at(holds: Sequence[Reservation], moments: Sequence[dt.datetime]) -> None:
    for held, moment in zip(holds, moments, strict=True):
        Reservation.objects.filter(pk=held.pk).update(expires_at=moment)
        Seat.objects.filter(reservation_id=held.pk).update(held_until=moment)


def outcome_of(holds: Sequence[Reservation], late: Mapping[uuid.UUID, Payment]) -> Counter[str]:
    """Let them race. One thing came of each hold, and gateway, ledger and payments agree on it."""
    steps = [(held, partial(step, held)) for held in holds for step in (pay_alone, sweep, release_it)]
    steps += [(held, partial(late_money, late[held.pk])) for held in holds if held.pk in late for _copy in range(2)]
    outcomes = race([step for _held, step in steps])
    said: dict[uuid.UUID, list[object]] = defaultdict(list)
    for (held, _step), outcome in zip(steps, outcomes, strict=True):
        assert isinstance(outcome, WINS_OR_LOSES) or is_busy(outcome), outcome
        said[held.pk].append(outcome)

    for held in holds:
        sweep(held)  # told that the machine was busy
    for _sweep in range(2):
        Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
        sweeping.sweep_payments()
    Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    expect_money_conserved()
    return Counter(winner_of(held, said[held.pk], late.get(held.pk)) for held in holds)


def is_busy(outcome: object) -> bool:
    """Tell whether another transaction's lock lasted too long: the API would tell its caller to come again."""
    return isinstance(outcome, OperationalError) and "lock timeout" in str(outcome)


def winner_of(held: Reservation, said: list[object], late: Payment | None) -> str:
    now = Reservation.objects.get(pk=held.pk)
    captured = Payment.objects.filter(status="captured", reservation=held).values_list("pk", flat=True).first()
    paid_late = late is not None and captured == late.pk
    won = {
        "paid": captured is not None and not paid_late,
        "late money": paid_late,
        "released": now.status == Status.CANCELLED,
        "expired": now.status == Status.EXPIRED,
    }
    (winner,) = [name for name, is_so in won.items() if is_so]
    assert winner == "paid" or "paid" not in said
    assert now.status == Status.CONFIRMED or winner in {"released", "expired"}
    sales = Sale.objects.filter(buyer=held.buyer)
    seat = Seat.objects.get(session=held.session_id, label=held.seats[0])
    assert (sales.count(), seat.status) == ((1, "s") if winner in {"paid", "late money"} or late else (0, "f"))
    return winner


def expect_money_conserved() -> None:
    """Check that the gateway's record, the payments, the ledger and the sales agree."""

    def total(rows: QuerySet[Any], amount: Any) -> int:
        return int(rows.aggregate(total=Sum(amount, default=0))["total"])

    taken = total(SandboxCharge.objects.filter(status="captured"), F("amount") - F("refunded"))
    back = total(Refund.objects.filter(status="paid_back"), "amount")
    captured = total(Payment.objects.filter(status="captured"), "amount") - back
    posted = total(LedgerEntry.objects.filter(account="gateway"), "amount")
    sold = total(Sale.objects.all(), F("total") - F("refunded"))
    assert taken == captured == posted == sold
    assert not SandboxCharge.objects.filter(status="authorised").exists()


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("who", ["payment", "release", "expiry"])
def test_hold_is_over_at_its_instant(
    session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch, who: str, off: int
) -> None:
    """A millisecond earlier, it isn't: each is judged by the same clock, read after the lock."""
    held = hold(session, "A1", buyer=ana)
    now = run_out_together([held]) + dt.timedelta(milliseconds=off)
    monkeypatch.setattr(locks, "db_now", lambda: now)
    monkeypatch.setattr(sweeps, "db_now", lambda: now)
    match who:
        case "payment" if off < 0:
            pay_alone(held)
        case "payment":
            with pytest.raises(ReservationExpired):
                pay_alone(held)
            assert not SandboxCharge.objects.exists()
        case "release":
            release_it(held)
        case "expiry":
            assert expire_holds() == (0 if off < 0 else 1)
    held.refresh_from_db()
    in_time = {"payment": Status.CONFIRMED, "release": Status.CANCELLED, "expiry": Status.HELD}
    late = {"payment": Status.HELD, "release": Status.EXPIRED, "expiry": Status.EXPIRED}
    assert held.status == (in_time if off < 0 else late)[who]


def test_fifty_payments_at_once_make_one_capture(session: Session, hold: Hold, ana: uuid.UUID) -> None:
    held = hold(session, "A1", buyer=ana)
    outcomes = race([partial(pay_alone, held)] * 50)
    assert outcomes.count("paid") == 1
    assert all(isinstance(outcome, WINS_OR_LOSES) for outcome in outcomes)
    assert (Sale.objects.count(), SandboxCharge.objects.count()) == (1, 1)


def test_two_payments_would_begin_without_the_lock(
    session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: both have looked before either writes, and only the constraint keeps one out."""
    held = hold(session, "A1", buyer=ana)
    looked = threading.Barrier(2)

    def look(ids: list[uuid.UUID]) -> dict[uuid.UUID, locks.Locked]:
        (reservation,) = Reservation.objects.select_related("session").filter(pk__in=ids)
        now = db_now()
        looked.wait(10)
        return {reservation.pk: locks.Locked(reservation, reservation.session, now, Announcements(now=now))}

    monkeypatch.setattr(locks, "lock_reservations", look)
    outcomes = race([partial(start_alone, held)] * 2)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["IntegrityError", "Payment"]
    assert any(
        "payment_one_open_attempt_a_reservation" in str(outcome)
        for outcome in outcomes
        if isinstance(outcome, IntegrityError)
    )
