"""Authorise, sell, capture: every attempt ends as a sale, or the hold goes on."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from realtime import wire
from realtime.models import Event
from reservations.admission.front_door import EPOCH
from reservations.claims import claims, keys
from reservations.models import Reservation, Status
from reservations.operations.holding import release
from reservations.operations.sweeps import expire_holds
from reservations.refusals import AlreadyPaid, NotHeld, PaymentInProgress, ReservationExpired
from sessions_app.models import Seat, Session
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from tests.race.racing import race
from tests.reservations.test_holding import request_for, run_out
from ticketing.models import LedgerEntry, Payment, Sale, SandboxCharge, Ticket
from ticketing.payments import gateways, selling, starting, steps, sweeping
from ticketing.payments.gateways import Attempt, Standing, fake
from ticketing.people import accounts
from ticketing.queries import sale_body
from ticketing.refusals import UnknownMethod, UnknownToken

pytestmark = pytest.mark.django_db(transaction=True)

FORGED = {
    "position": 1_000_000_000,
    "name": "forged",
    "session": uuid.uuid4(),
    "buyer": uuid.uuid4(),
    "map_version": 99,
    "facts": {},
    "occurred_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    "cause": "forged",
    "actor": uuid.uuid4(),
}


@pytest.fixture(autouse=True)
def _the_gateway_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "SLOW_SECONDS", 0)
    monkeypatch.setattr(fake, "DEADLINE_SECONDS", 0)


@pytest.fixture
def held(session: Session, hold: Hold, ana: uuid.UUID) -> Reservation:
    return hold(session, "A1", "A2", buyer=ana)


def pay(reservation: Reservation, token: str = "ok") -> Payment:
    payment = starting.start_payment(reservation_id=reservation.pk, buyer=reservation.buyer, method="fake", token=token)
    steps.finish_payment(payment_id=payment.pk)
    payment.refresh_from_db()
    reservation.refresh_from_db()
    return payment


def attempt_of(payment: Payment, token: str = "ok") -> Attempt:
    return Attempt(id=payment.pk, amount=payment.amount, currency=payment.currency, token=token)


def silence(_asked: object) -> Standing:
    raise gateways.GatewayTimeout


def turn_away(_asked: object) -> Standing:
    raise gateways.GatewayUnavailable


def charged() -> list[str]:
    return list(SandboxCharge.objects.values_list("status", flat=True))


class TestPaying:
    def test_payment_tells_the_buyer_the_whole_sale(self, held: Reservation, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[dict[str, Any]] = []
        monkeypatch.setattr(wire, "send_personal", lambda *, buyer, message: told.append(message))
        payment = pay(held)
        assert [message["status"] for message in told] == ["paying", "confirmed"]
        said = told[-1]["sale"]
        payment_now = {"payment": {**said["payment"], "status": payment.status}}
        assert {**said, **payment_now} == sale_body(Sale.objects.get())

    @pytest.mark.parametrize("token", ["ok", "slow"])
    def test_payment_sells_the_seats_and_writes_a_ticket_for_each(self, held: Reservation, token: str) -> None:
        payment = pay(held, token)
        assert (held.status, payment.status, charged()) == (Status.CONFIRMED, "captured", ["captured"])
        sale = Sale.objects.get()
        assert (sale.total, sale.buyer, sale.status) == (5000, held.buyer, "paid")
        tickets = Ticket.objects.filter(sale=sale)
        assert {ticket.seat.label for ticket in tickets if ticket.seat} == {"A1", "A2"}
        assert len({ticket.code for ticket in tickets}) == 2
        assert set(Seat.objects.filter(reservation_id=held.pk).values_list("status", flat=True)) == {"s"}

    def test_payment_for_unnumbered_places_writes_tickets_without_a_seat(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        pay(hold(session, buyer=ana, ticket_type=stock.pk, quantity=2))
        assert [(ticket.seat, ticket.price) for ticket in Ticket.objects.all()] == [(None, 9000)] * 2

    def test_payment_tells_it_in_the_log(self, held: Reservation) -> None:
        pay(held)
        names = Event.objects.filter(session=held.session_id).order_by("id").values_list("name", flat=True)
        assert list(names)[2:] == ["seat.sold", "reservation.confirmed", "payment.captured"]

    def test_payment_keeps_losers_away_from_a_sold_seat_at_the_door(self, held: Reservation) -> None:
        pay(held)
        assert claims.client().get(keys.claim_key(held.session_id, "A1")) == f"s:{held.pk}"

    def test_declined_payment_leaves_the_hold_and_another_card_may_be_tried(self, held: Reservation) -> None:
        ends = held.expires_at
        assert pay(held, "declined").status == "declined"
        assert (held.status, held.expires_at, charged()) == (Status.HELD, ends, ["declined"])
        assert pay(held).status == "captured"

    def test_payment_that_times_out_leaves_the_hold_and_charges_nothing_ever(self, held: Reservation) -> None:
        payment = pay(held, "timeout")
        assert (payment.status, payment.reason, held.status) == ("failed", "gateway_timeout", Status.HELD)
        late = fake.authorise(attempt_of(payment))
        assert late.state == "voided"

    def test_decline_after_the_holds_end_ends_the_hold(self, held: Reservation) -> None:
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="declined")
        Reservation.objects.filter(pk=held.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
        steps.finish_payment(payment_id=payment.pk)
        held.refresh_from_db()
        assert held.status == Status.EXPIRED
        assert not Seat.objects.filter(reservation_id=held.pk).exists()

    def test_payment_after_the_hold_is_refused_and_charges_nothing(self, held: Reservation) -> None:
        run_out(held)
        with pytest.raises(ReservationExpired):
            pay(held)
        assert (charged(), Payment.objects.count()) == ([], 0)

    def test_payment_of_a_swept_hold_is_refused_the_same(self, held: Reservation) -> None:
        run_out(held)
        expire_holds()
        with pytest.raises(ReservationExpired):
            pay(held)

    def test_payment_begun_in_time_is_finished_though_the_hold_ran_out_meanwhile(self, held: Reservation) -> None:
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        Reservation.objects.filter(pk=held.pk).update(expires_at=timezone.now() - dt.timedelta(seconds=1))
        assert expire_holds() == 0
        steps.finish_payment(payment_id=payment.pk)
        held.refresh_from_db()
        assert held.status == Status.CONFIRMED

    def test_payment_twice_is_refused(self, held: Reservation) -> None:
        starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        with pytest.raises(PaymentInProgress):
            starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        with pytest.raises(PaymentInProgress):
            release(reservation_id=held.pk, buyer=held.buyer)

    def test_payment_again_after_it_is_paid_names_the_sale(self, held: Reservation) -> None:
        pay(held)
        with pytest.raises(AlreadyPaid) as refusal:
            pay(held)
        assert refusal.value.sale == Sale.objects.get().pk

    def test_payment_for_a_queued_reservation_is_too_early(self, session: Session, ana: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana)
        claims.admit([claims.Applicant(request=request, claim_ms=5000, limits=[claims.Limit(10)], epoch=EPOCH)])
        with pytest.raises(NotHeld):
            starting.start_payment(reservation_id=request.id, buyer=ana, method="fake", token="ok")

    def test_payment_of_another_buyers_hold_is_not_found(self, held: Reservation, bruno: uuid.UUID) -> None:
        with pytest.raises(Reservation.DoesNotExist):
            starting.start_payment(reservation_id=held.pk, buyer=bruno, method="fake", token="ok")

    def test_payment_allocated_twice_sells_once(self, held: Reservation) -> None:
        payment = pay(held)
        steps.finish_payment(payment_id=payment.pk)
        assert (Sale.objects.count(), Ticket.objects.count()) == (1, 2)

    @pytest.mark.parametrize(
        ("method", "token", "error"),
        [("gold", "ok", UnknownMethod), ("fake", "gold", UnknownToken)],
    )
    def test_payment_by_an_unknown_way_changes_nothing(
        self, held: Reservation, method: str, token: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method=method, token=token)
        held.refresh_from_db()
        assert held.status == Status.HELD


class TestGateway:
    def test_gateway_that_charged_though_it_was_silent_is_asked_and_the_sale_is_made(self, held: Reservation) -> None:
        assert pay(held, "timeout_charged").status == "captured"
        assert (held.status, charged()) == (Status.CONFIRMED, ["captured"])

    def test_gateway_that_says_nothing_at_all_keeps_the_seats_until_the_sweep_has_asked(
        self, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(fake, "find", silence)
            assert pay(held, "timeout_charged").status == "started"
            assert held.status == Status.PAYING
        Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=1))
        sweeping.sweep_payments()
        held.refresh_from_db()
        assert (held.status, charged()) == (Status.CONFIRMED, ["captured"])

    def test_gateway_that_stays_silent_for_longer_than_seats_are_kept_loses_them(
        self, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        past = timezone.now() - dt.timedelta(seconds=1)
        Reservation.objects.update(pinned_until=past, expires_at=past)
        monkeypatch.setattr(fake, "authorise", silence)
        monkeypatch.setattr(fake, "find", silence)
        steps.finish_payment(payment_id=payment.pk)
        payment.refresh_from_db()
        held.refresh_from_db()
        assert (payment.status, payment.reason, held.status) == ("failed", "gateway_silent", Status.EXPIRED)

    def test_gateway_that_turns_us_away_puts_the_hold_back_at_once(
        self, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def turned_away(_attempt: Attempt) -> Standing:
            raise gateways.GatewayUnavailable

        monkeypatch.setattr(fake, "authorise", turned_away)
        assert (pay(held).status, held.status, charged()) == ("failed", Status.HELD, [])

    def test_gateway_that_is_silent_again_and_again_is_left_alone_for_a_while(
        self, session: Session, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Attempt] = []

        def silent(attempt: Attempt) -> Standing:
            asked.append(attempt)
            raise gateways.GatewayTimeout

        monkeypatch.setattr(fake, "authorise", silent)
        monkeypatch.setattr(fake, "find", silent)
        gateways.breaker_of.cache_clear()
        attempts = [pay(hold(session, seat, buyer=uuid.uuid4())) for seat in ("A1", "A2", "A3", "A4")]
        gateways.breaker_of.cache_clear()
        assert len(asked) == 5
        assert [payment.status for payment in attempts] == ["started", "started", "started", "failed"]

    def test_gateway_that_still_works_on_it_keeps_the_seats(
        self, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fake, "authorise", lambda _attempt: Standing("pending"))
        assert (pay(held).status, held.status) == ("started", Status.PAYING)

    def test_gateway_whose_authorisation_is_gone_takes_the_sale_along(
        self, held: Reservation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fake, "capture", lambda _attempt: Standing("voided"))
        assert pay(held).status == "voided"
        assert (Sale.objects.get().status, Ticket.objects.exclude(status="void").count()) == ("refunded", 0)
        assert set(Seat.objects.values_list("status", flat=True)) == {"f"}
        assert not LedgerEntry.objects.exists()

    def test_gateway_is_not_asked_about_a_free_reservation(self, held: Reservation) -> None:
        Reservation.objects.update(total=0)
        assert pay(held).status == "captured"
        assert (charged(), Sale.objects.get().total, LedgerEntry.objects.count()) == ([], 0, 0)

    def test_gateway_believes_no_amount_but_ours(self, held: Reservation) -> None:
        pay(held)
        charge = SandboxCharge.objects.get()
        assert (charge.amount, charge.currency) == (5000, "BRL")


class TestTogether:
    def test_batch_sells_all_that_is_paid_and_restores_the_other_holds(self, session: Session, hold: Hold) -> None:
        seats = ["A1", "A2", "A3", "A4", "B1", "B2"]
        attempts = []
        for number, seat in enumerate(seats):
            held = hold(session, seat, buyer=uuid.uuid4())
            payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
            fake.authorise(attempt_of(payment, "ok" if number % 3 else "declined"))
            attempts.append(payment)
        race([partial(steps.finish_payment, payment_id=payment.pk) for payment in attempts])
        statuses = Payment.objects.order_by("id").values_list("status", flat=True)
        assert list(statuses) == ["declined", "captured", "captured"] * 2
        assert sorted(Ticket.objects.values_list("seat__label", flat=True)) == ["A2", "A3", "B1", "B2"]
        assert len(set(Sale.objects.values_list("number", flat=True))) == 4


class TestRungForAtOnce:
    """Check that payments of one message stay together if the gateway answers several at once."""

    def start(self, session: Session, hold: Hold, *tokens: str) -> list[Payment]:
        held = [hold(session, f"A{number}", buyer=uuid.uuid4()) for number in range(1, len(tokens) + 1)]
        return [
            starting.start_payment(reservation_id=one.pk, buyer=one.buyer, method="fake", token=token)
            for one, token in zip(held, tokens, strict=True)
        ]

    def allocate(self, payments: list[Payment]) -> list[str]:
        steps.finish_payments([(payment.pk, "") for payment in payments])
        standings = dict(Payment.objects.values_list("pk", "status"))
        return [standings[payment.pk] for payment in payments]

    def test_the_gateway_is_asked_once_for_all(
        self, session: Session, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []
        several = fake.authorise_all

        def counted(attempts: Sequence[Attempt]) -> list[Standing]:
            asked.append(len(attempts))
            return several(attempts)

        monkeypatch.setattr(fake, "authorise_all", counted)
        assert self.allocate(self.start(session, hold, "ok", "ok", "ok")) == ["captured"] * 3
        assert (asked, charged(), Sale.objects.count()) == ([3], ["captured"] * 3, 3)
        assert Event.objects.filter(name="payment.captured").count() == 3

    def test_payment_that_is_not_plain_is_finished_alone(self, session: Session, hold: Hold) -> None:
        payments = self.start(session, hold, "ok", "declined", "timeout_charged", "ok")
        assert self.allocate(payments) == ["captured", "declined", "captured", "captured"]

    def test_repetition_is_harmless(self, session: Session, hold: Hold) -> None:
        payments = self.start(session, hold, "ok", "ok")
        fake.authorise_all([attempt_of(payments[0])])  # the worker that did it died
        assert self.allocate(payments) == self.allocate(payments) == ["captured"] * 2
        assert (charged(), Sale.objects.count()) == (["captured"] * 2, 2)

    def test_payment_whose_seats_are_lost_meanwhile_is_not_captured(self, session: Session, hold: Hold) -> None:
        payments = self.start(session, hold, "ok", "ok")
        fake.void(attempt_of(payments[0]))
        assert self.allocate(payments) == ["failed", "captured"]

    def test_a_silent_gateway_is_asked_about_each(
        self, session: Session, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ask about each, because the gateway may know them: a refusal afterwards means nothing."""
        payments = self.start(session, hold, "ok", "ok")
        monkeypatch.setattr(fake, "authorise_all", silence)
        monkeypatch.setattr(fake, "authorise", turn_away)
        assert self.allocate(payments) == ["started"] * 2
        monkeypatch.undo()
        assert self.allocate(payments) == ["captured"] * 2

    def test_what_fails_together_is_tried_alone(
        self, session: Session, hold: Hold, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        payments = self.start(session, hold, "ok", "ok")
        monkeypatch.setattr(fake, "capture_all", None)
        assert self.allocate(payments) == ["captured"] * 2


class TestSweep:
    """Check that the sweep continues an attempt whose worker died between two steps."""

    def test_sweep_takes_up_an_attempt_that_no_worker_began(self, held: Reservation) -> None:
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        self.long_ago(payment)
        assert sweeping.sweep_payments() == 1
        payment.refresh_from_db()
        assert payment.status == "captured"

    def test_sweep_captures_what_was_sold_and_not_captured(self, held: Reservation) -> None:
        payment = starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        fake.authorise(attempt_of(payment))
        step = selling.Authorised(payment=payment.pk, reference="")
        selling.sell(step)
        self.long_ago(payment)
        sweeping.sweep_payments()
        assert (charged(), Sale.objects.count()) == (["captured"], 1)

    def test_sweep_leaves_attempts_that_a_worker_may_be_busy_with(self, held: Reservation) -> None:
        starting.start_payment(reservation_id=held.pk, buyer=held.buyer, method="fake", token="ok")
        assert sweeping.sweep_payments() == 0

    @staticmethod
    def long_ago(payment: Payment) -> None:
        Payment.objects.filter(pk=payment.pk).update(changed_at=timezone.now() - dt.timedelta(minutes=1))


class TestAdoption:
    def test_adoption_gives_the_guests_holds_and_sales_to_the_user(
        self, session: Session, hold: Hold, held: Reservation
    ) -> None:
        guest = held.buyer
        pay(held)
        hold(session, "B1", buyer=guest)
        user = UserFactory.create()
        accounts.adopt_guest(guest=guest, user=user)
        assert set(Reservation.objects.values_list("buyer", flat=True)) == {user.pk}
        assert Sale.objects.get().buyer == user.pk


class TestConstraints:
    def test_ticket_one_live_ticket_per_seat(self, held: Reservation) -> None:
        pay(held)
        twin = Ticket.objects.first()
        assert twin is not None
        twin.pk, twin.code = uuid.uuid4(), "TWIN"
        with pytest.raises(IntegrityError, match="ticket_one_live_ticket_per_seat"), transaction.atomic():
            twin.save(force_insert=True)

    def test_reservation_final_state_is_final(self, held: Reservation) -> None:
        pay(held)
        with pytest.raises(IntegrityError, match="a final state"), transaction.atomic():
            Reservation.objects.filter(pk=held.pk).update(status=Status.CANCELLED)

    def test_payment_one_open_attempt_a_reservation(self, held: Reservation) -> None:
        Payment.objects.create(reservation=held, method="fake", token="ok", amount=1, currency="BRL")
        with pytest.raises(IntegrityError, match="payment_one_open_attempt_a_reservation"), transaction.atomic():
            Payment.objects.create(reservation=held, method="fake", token="ok", amount=1, currency="BRL")

    def test_seat_free_has_none_and_held_has_one(self, held: Reservation) -> None:
        with pytest.raises(IntegrityError, match="seat_free_has_none"), transaction.atomic():
            Seat.objects.filter(label="A1").update(status="f", held_until=None)
        with pytest.raises(IntegrityError, match="seat_held_or_sold_has_a_reservation"), transaction.atomic():
            Seat.objects.filter(label="A1").update(reservation_id=None)

    def test_event_log_is_append_only(self, held: Reservation) -> None:
        assert set(Event.objects.values()[0]) == {*FORGED, "id", "published_at"}
        for column, value in FORGED.items():
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                Event.objects.filter(**{f"{column}__isnull": False}).update(**{column: value})
        assert Event.objects.update(published_at=Now())
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            Event.objects.first().delete()  # type: ignore[union-attr]
