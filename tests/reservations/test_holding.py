"""Buyers ask for holds one after the other, and each gets a hold or a refusal."""

from __future__ import annotations

import datetime as dt
import uuid

import msgspec
import psycopg
import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from base.ids import uuid7
from realtime.models import Event
from reservations import queries
from reservations.admission import front_door
from reservations.admission.front_door import EPOCH
from reservations.allocation import batch, statements
from reservations.claims import claims, keys, standings
from reservations.claims.claims import StockLevel
from reservations.claims.standings import Told
from reservations.hold_request import Ask, HoldRequest
from reservations.models import CancelMark, InboxRequest, Reservation, Status
from reservations.operations import holding, inventory, queued, sweeps
from reservations.refusals import (
    DuplicateSeat,
    ExtensionLimit,
    IdempotencyMismatch,
    LimitReached,
    NothingAsked,
    RequestInFlight,
    ReservationExpired,
    SaleClosed,
    SaleNotOpen,
    SeatsUnavailable,
    SoldOut,
    TooManySeats,
    UnknownSeat,
    UnknownSession,
)
from sessions_app.models import Seat, Session
from tests.conftest import Hold, forget_redis
from tests.factories import StockFactory

pytestmark = pytest.mark.django_db(transaction=True)


def seat(session: Session, label: str) -> Seat:
    return Seat.objects.get(session=session, label=label)


def request_for(session: Session, *seats: str, buyer: uuid.UUID, arrival: int = 1, **more: object) -> HoldRequest:
    """Return a request as it comes out of the queue."""
    ask = Ask(session=session.pk, seats=seats, **more)  # type: ignore[arg-type]
    return HoldRequest.of(ask, reservation=uuid.uuid4(), buyer=buyer, arrival=arrival, accepted_at=timezone.now())


def run_out(reservation: Reservation) -> None:
    """Let the hold's time pass; PostgreSQL's clock decides, so the rows are turned back."""
    past = timezone.now() - dt.timedelta(milliseconds=1)
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=past)
    Seat.objects.filter(reservation_id=reservation.pk).update(held_until=past)
    forget_redis()  # its claims have lapsed


def status(reservation: Reservation) -> str:
    return Reservation.objects.values_list("status", flat=True).get(pk=reservation.pk)


def another_connection() -> psycopg.Connection:
    return psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None, "context": None})


class TestHold:
    def test_takes_all_the_seats_for_thirty_seconds(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A2", "A1", buyer=ana)
        assert (held.status, held.total) == (Status.HELD, 5000)
        assert held.expires_at == seat(session, "A1").held_until
        assert held.settled_at is not None
        assert held.expires_at is not None
        assert (held.expires_at - held.settled_at).total_seconds() == 30
        assert seat(session, "A2").reservation_id == held.pk

    def test_is_refused_for_a_seat_that_another_buyer_holds(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        with pytest.raises(SeatsUnavailable) as refusal:
            hold(session, "A2", "A1", buyer=bruno)
        assert refusal.value.conflicts == {"A1": "held"}
        assert seat(session, "A2").status == "f"

    def test_is_refused_by_postgresql_when_redis_forgot_everything(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        claims.client().delete(keys.claim_key(session.pk, "A1"))
        lost = hold(session, "A1", "A3", buyer=bruno)
        assert (lost.status, lost.reason) == (Status.REJECTED, "seats_unavailable")
        assert lost.conflicts == [{"seat": "A1", "reason": "held"}]
        assert seat(session, "A3").status == "f"

    def test_is_refused_whole_and_leaves_no_claim(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        claims.client().delete(keys.claim_key(session.pk, "A1"))
        hold(session, "A1", "A3", buyer=bruno)
        assert claims.client().get(keys.claim_key(session.pk, "A3")) is None

    def test_counts_with_the_places_that_the_buyer_has(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        Session.objects.filter(pk=session.pk).update(max_per_buyer=2)
        hold(session, "A1", "A2", buyer=ana)
        with pytest.raises(LimitReached):
            hold(session, "A3", buyer=ana)
        forget_redis()
        assert hold(session, "A3", buyer=ana).reason == "limit_reached"

    def test_takes_unnumbered_places_from_the_stock(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        assert hold(session, buyer=ana, ticket_type=stock.pk, quantity=2).total == 18000
        stock.refresh_from_db()
        assert stock.available == 1
        with pytest.raises(SoldOut):
            hold(session, buyer=bruno, ticket_type=stock.pk, quantity=2)

    def test_never_takes_more_than_the_stock_though_redis_is_wrong(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        stock = StockFactory.create(session=session, capacity=1)
        hold(session, buyer=ana, ticket_type=stock.pk, quantity=1)
        standings.upkeep([], [Told(session.pk, StockLevel(stock.pk, version=99, available=99))])
        assert hold(session, buyer=bruno, ticket_type=stock.pk, quantity=1).reason == "sold_out"

    def test_has_best_available_seats_side_by_side(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, buyer=ana, best_available=True, quantity=3)
        numbers = sorted(int(label[1:]) for label in held.seats)
        assert len({label[0] for label in held.seats}) == 1
        assert numbers == list(range(numbers[0], numbers[0] + 3))

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"starts_at": timezone.now() - dt.timedelta(minutes=1)}, SaleClosed),
            ({"cancelled_at": timezone.now()}, SaleClosed),
            ({"on_sale_at": timezone.now() + dt.timedelta(hours=1)}, SaleNotOpen),
        ],
    )
    def test_waits_for_the_sale_and_ends_with_it(
        self, session: Session, hold: Hold, ana: uuid.UUID, change: dict[str, dt.datetime], error: type[Exception]
    ) -> None:
        Session.objects.filter(pk=session.pk).update(**change)
        with pytest.raises(error):
            hold(session, "A1", buyer=ana)
        with_late_news = request_for(session, "A1", buyer=ana)
        queued.allocate([with_late_news])
        assert Reservation.objects.get(pk=with_late_news.id).status == Status.REJECTED

    @pytest.mark.parametrize(
        ("seats", "error"),
        [
            (("Z9",), UnknownSeat),
            (("A1", "A1"), DuplicateSeat),
            ((), NothingAsked),
            (tuple(f"A{n}" for n in range(1, 1001)), TooManySeats),
        ],
    )
    def test_is_not_stored_for_an_invalid_request(
        self, session: Session, hold: Hold, ana: uuid.UUID, seats: tuple[str, ...], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            hold(session, *seats, buyer=ana)
        assert not Reservation.objects.exists()
        assert not Event.objects.filter(session=session.pk, name__startswith="reservation").exists()

    def test_is_refused_for_an_unknown_session(self, db: None, hold: Hold, ana: uuid.UUID) -> None:
        with pytest.raises(UnknownSession):
            front_door.admit(Ask(session=uuid.uuid4(), seats=("A1",)), buyer=ana)


class TestArrival:
    def test_counts_up_within_a_session(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        first, second = hold(session, "A1", buyer=ana), hold(session, "A2", buyer=bruno)
        assert second.arrival == first.arrival + 1
        assert second.arrival < 2**53

    def test_never_repeats_after_redis_forgot_it(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        first = hold(session, "A1", buyer=ana)
        claims.client().delete(keys.key("arrival", f"{{{session.pk}}}"))
        assert hold(session, "A2", buyer=bruno).arrival > first.arrival

    def test_decides_within_a_batch(self, session: Session, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        late = request_for(session, "A1", "A2", buyer=ana, arrival=8)
        early = request_for(session, "A2", buyer=bruno, arrival=7)
        queued.allocate([late, early])
        assert Reservation.objects.get(pk=early.id).status == Status.HELD
        assert Reservation.objects.get(pk=late.id).conflicts == [{"seat": "A2", "reason": "held"}]


class TestKey:
    def test_gives_the_same_reservation_again(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        first = hold(session, "A1", buyer=ana, key="k")
        again = front_door.admit(Ask(session=session.pk, seats=("A1",), key="k"), buyer=ana)
        assert (again.replayed, again.id, again.request.arrival) == (True, first.pk, first.arrival)

    def test_is_a_mismatch_with_another_request(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        hold(session, "A1", buyer=ana, key="k")
        with pytest.raises(IdempotencyMismatch):
            hold(session, "A2", buyer=ana, key="k")

    def test_is_the_buyers_own(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        assert hold(session, "A1", buyer=ana, key="k").pk != hold(session, "A2", buyer=bruno, key="k").pk

    def test_may_be_used_again_after_a_refusal_at_admission(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        taken = hold(session, "A1", buyer=ana)
        with pytest.raises(SeatsUnavailable):
            hold(session, "A1", buyer=bruno, key="k")
        holding.release(reservation_id=taken.pk, buyer=ana)
        assert hold(session, "A1", buyer=bruno, key="k").status == Status.HELD

    def test_never_holds_twice_after_redis_forgot_it(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        first = hold(session, "A1", buyer=ana, key="k")
        forget_redis()
        second = hold(session, "A1", buyer=ana, key="k")
        assert (second.status, second.reason, second.duplicate_of) == (Status.REJECTED, "duplicate", first.pk)

    def test_sends_the_same_reservation_again_after_its_lease_without_an_answer(
        self, session: Session, ana: uuid.UUID
    ) -> None:
        ask = Ask(session=session.pk, seats=("A1",), key="k")
        admission = claims.Applicant(
            request=request_for(session, "A1", buyer=ana, key="k"),
            claim_ms=5000,
            limits=[claims.Limit(10)],
            epoch=EPOCH,
            lease_ms=0,
        )
        (lost,) = claims.admit([admission])  # the process died before it answered
        assert front_door.admit(ask, buyer=ana).id == lost.id

    def test_asks_to_come_back_while_it_is_in_flight(self, session: Session, ana: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana, key="k")
        claims.admit([claims.Applicant(request=request, claim_ms=5000, limits=[claims.Limit(10)], epoch=EPOCH)])
        with pytest.raises(RequestInFlight) as refusal:
            front_door.admit(Ask(session=session.pk, seats=("A1",), key="k"), buyer=ana)
        assert 1 <= refusal.value.retry_after <= 10

    def test_is_forgotten_after_a_day(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        old, young = hold(session, "A1", buyer=ana, key="k"), hold(session, "A2", buyer=bruno, key="k")
        Reservation.objects.filter(pk=old.pk).update(accepted_at=timezone.now() - dt.timedelta(hours=25))
        assert sweeps.forget_keys() == 1
        old.refresh_from_db()
        young.refresh_from_db()
        assert (old.key, young.key) == ("", "k")


class TestAllocation:
    def test_changes_nothing_when_it_runs_again(self, session: Session, ana: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana)
        queued.allocate([request])
        written = Event.objects.count()
        queued.allocate([request, request])
        assert Reservation.objects.count() == 1
        assert Event.objects.count() == written

    def test_lets_neighbours_of_a_poison_request_through(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        good = [request_for(session, f"A{n}", buyer=ana, arrival=n) for n in (1, 2, 3)]
        poison = [request_for(session, buyer=bruno, quantity=-5, arrival=n) for n in (8, 9)]
        with pytest.raises(queued.Poison) as refused:
            queued.allocate([poison[0], *good[:2], poison[1], good[2]])
        assert [(failure.request, failure.tries) for failure in refused.value.failures] == [(one, 5) for one in poison]
        assert "reservation_asks_for_something" in refused.value.failures[0].reason
        assert "Failing row" not in refused.value.failures[0].reason
        assert Reservation.objects.filter(status=Status.HELD).count() == 3

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 FROM a_table_of_the_next_release",
            "SET TRANSACTION READ ONLY; DELETE FROM reservations_cancelmark",
            "SET lock_timeout = '1ms'; LOCK reservations_cancelmark",
            "SELECT pg_terminate_backend(pg_backend_pid())",
        ],
    )
    def test_blames_no_request_for_an_outage(
        self, session: Session, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch, statement: str
    ) -> None:
        def allocate_batch(_requests: object, **_where: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)

        monkeypatch.setattr(queued, "FIRST_PAUSE", 0)
        monkeypatch.setattr(batch, "allocate_batch", allocate_batch)
        requests = [request_for(session, f"A{n}", buyer=ana, arrival=n) for n in (1, 2)]
        with another_connection() as other:
            other.execute("LOCK reservations_cancelmark IN ACCESS SHARE MODE")
            with pytest.raises(DatabaseError):
                queued.allocate(requests)
        connection.close()

    def test_leaves_poison_in_the_inbox_for_a_person(self, session: Session, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        poison, good = request_for(session, buyer=ana, quantity=-5), request_for(session, "A1", buyer=bruno, arrival=2)
        for request in (poison, good):
            InboxRequest.objects.create(
                pk=request.id, shard=0, arrival=request.arrival, buyer=request.buyer, request=request.to_json()
            )
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get().pk == good.id
        left = InboxRequest.objects.get()
        assert (left.pk, left.attempts) == (poison.id, 5)


class TestRelease:
    def test_frees_the_seats_at_once(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        holding.release(reservation_id=hold(session, "A1", "A2", buyer=ana).pk, buyer=ana)
        assert hold(session, "A1", buyer=bruno).status == Status.HELD

    def test_may_be_repeated(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        for _time in range(2):
            holding.release(reservation_id=held.pk, buyer=ana)
        assert Reservation.objects.get().status == Status.CANCELLED

    def test_gives_stock_back(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        holding.release(reservation_id=hold(session, buyer=ana, ticket_type=stock.pk, quantity=2).pk, buyer=ana)
        stock.refresh_from_db()
        assert stock.available == 3

    def test_does_not_find_another_buyers_reservation(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        with pytest.raises(Reservation.DoesNotExist):
            holding.release(reservation_id=held.pk, buyer=bruno)
        assert seat(session, "A1").status == "h"

    def test_leaves_a_mark_that_allocation_obeys_while_the_request_is_queued(
        self, session: Session, ana: uuid.UUID
    ) -> None:
        request = request_for(session, "A1", buyer=ana)
        InboxRequest.objects.create(pk=request.id, shard=0, arrival=1, buyer=ana, request=request.to_json())
        holding.release(reservation_id=request.id, buyer=ana)
        queued.drain_inbox(shard=0)
        assert Reservation.objects.get().status == Status.CANCELLED
        assert seat(session, "A1").status == "f"
        assert not CancelMark.objects.exists()

    def test_frees_the_claims_at_once_while_the_request_is_queued(
        self, session: Session, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        requests = [request_for(session, "A1", buyer=buyer) for buyer in (ana, bruno)]
        first, second = (
            claims.Applicant(request=request, claim_ms=5000, limits=[claims.Limit(10)], epoch=EPOCH)
            for request in requests
        )
        assert [verdict.kind for verdict in claims.admit([first, second])] == ["admitted", "taken"]
        for _time in range(2):
            holding.release(reservation_id=requests[0].id, buyer=ana)
            assert queries.find(requests[0].id, buyer=ana)["status"] == "queued"
        assert [verdict.kind for verdict in claims.admit([second])] == ["admitted"]
        queued.allocate(
            [msgspec.structs.replace(request, arrival=arrival) for arrival, request in enumerate(requests, 1)], shard=0
        )
        assert [Reservation.objects.get(pk=request.id).status for request in requests] == ["cancelled", "held"]


class TestExtend:
    def test_adds_as_much_time_again(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        assert held.expires_at is not None
        end = held.expires_at + dt.timedelta(seconds=session.hold_seconds)
        body = holding.extend(reservation_id=held.pk, buyer=ana)
        held.refresh_from_db()
        assert body["extensions_left"] == queries.extensions_left(held) == 8
        assert held.expires_at == seat(session, "A1").held_until == end

    def test_is_possible_as_often_as_the_longest_hold_allows(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        Session.objects.filter(pk=session.pk).update(max_hold_seconds=100)
        held = hold(session, "A1", buyer=ana)
        left = [holding.extend(reservation_id=held.pk, buyer=ana)["extensions_left"] for _time in range(3)]
        assert left == [2, 1, 0]
        held.refresh_from_db()
        assert held.expires_at is not None
        assert held.held_at is not None
        assert (held.expires_at - held.held_at).total_seconds() == 100
        with pytest.raises(ExtensionLimit):
            holding.extend(reservation_id=held.pk, buyer=ana)

    def test_never_goes_past_the_longest_hold(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        Session.objects.filter(pk=session.pk).update(max_hold_seconds=30)
        held = hold(session, "A1", buyer=ana)
        with pytest.raises(ExtensionLimit):
            holding.extend(reservation_id=held.pk, buyer=ana)

    def test_comes_too_late_for_a_hold_that_ran_out(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        run_out(held)
        with pytest.raises(ReservationExpired):
            holding.extend(reservation_id=held.pk, buyer=ana)

    def test_keeps_the_claim_alive_with_the_hold(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        held = hold(session, "A1", buyer=ana)
        claims.client().pexpire(keys.claim_key(session.pk, "A1"), 1000)
        holding.extend(reservation_id=held.pk, buyer=ana)
        assert claims.client().pttl(keys.claim_key(session.pk, "A1")) > 25_000


class TestExpiry:
    def test_frees_the_seat_for_the_next_buyer_before_any_sweep(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        old = hold(session, "A1", "A2", buyer=ana)
        run_out(old)
        forget_redis()
        assert hold(session, "A1", buyer=bruno).status == Status.HELD
        old.refresh_from_db()
        assert old.status == Status.EXPIRED
        assert seat(session, "A2").status == "f"

    def test_happens_at_allocation_for_holds_in_the_way_only(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        wanted, elsewhere = (hold(session, label, buyer=uuid.uuid4()) for label in ("A1", "D4"))
        own = hold(session, "B1", buyer=bruno)
        for old in (wanted, elsewhere, own):
            run_out(old)
        assert hold(session, "A1", buyer=bruno).status == Status.HELD
        assert [status(old) for old in (wanted, elsewhere, own)] == ["expired", "held", "expired"]

    def test_happens_at_allocation_for_as_many_places_as_are_asked_for(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        old = [hold(session, buyer=uuid.uuid4(), ticket_type=stock.pk, quantity=1) for _place in range(3)]
        for held in old:
            run_out(held)
        assert hold(session, buyer=ana, ticket_type=stock.pk, quantity=2).status == Status.HELD
        assert sorted(map(status, old)) == ["expired", "expired", "held"]
        stock.refresh_from_db()
        assert stock.available == 0

    def test_happens_at_allocation_before_the_best_seats_are_chosen(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        labels = list(Seat.objects.of(session.pk).values_list("label", flat=True))
        for start in range(0, len(labels), 8):
            run_out(hold(session, *labels[start : start + 8], buyer=uuid.uuid4()))
        assert hold(session, buyer=ana, best_available=True, quantity=4).status == Status.HELD
        session.refresh_from_db()
        assert session.free_seats == 12

    def test_happens_at_a_sweep_and_frees_seats_and_stock(self, session: Session, hold: Hold, ana: uuid.UUID) -> None:
        stock = StockFactory.create(session=session, capacity=3)
        for held in (hold(session, "A1", buyer=ana), hold(session, buyer=ana, ticket_type=stock.pk, quantity=3)):
            run_out(held)
        assert sweeps.expire_holds() == 2
        stock.refresh_from_db()
        assert (seat(session, "A1").status, stock.available) == ("f", 3)
        assert Event.objects.filter(name="reservation.expired").count() == 2
        assert Event.objects.filter(name="seat.released").count() == 1
        assert sweeps.expire_holds() == 0

    def test_spares_running_holds_and_payments(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        hold(session, "A1", buyer=ana)
        paying = hold(session, "A2", buyer=bruno)
        run_out(paying)
        Reservation.objects.filter(pk=paying.pk).update(status=Status.PAYING)
        assert sweeps.expire_holds() == 0


class TestFind:
    def test_finds_a_request_from_the_instant_of_its_acceptance(self, session: Session, ana: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana)
        admission = claims.Applicant(request=request, claim_ms=5000, limits=[claims.Limit(10)], epoch=EPOCH)
        claims.admit([admission])
        assert queries.find(request.id, buyer=ana)["status"] == "queued"

    def test_asks_for_patience_with_a_young_id_and_refuses_an_old_one(self, db: None, ana: uuid.UUID) -> None:
        with pytest.raises(queries.NotYetKnown):
            queries.find(uuid7(), buyer=ana)
        with pytest.raises(Reservation.DoesNotExist):
            queries.find(uuid.UUID("018bcfe5-6800-7000-8000-000000000000"), buyer=ana)

    def test_refuses_a_young_id_that_redis_would_know(self, db: None, ana: uuid.UUID) -> None:
        claims.client().set(keys.key("remembers-since"), timezone.now().timestamp() - 2 * queries.CLOCKS_APART)
        with pytest.raises(Reservation.DoesNotExist):
            queries.find(uuid7(), buyer=ana)

    def test_asks_for_patience_with_an_id_allocated_this_instant(
        self, session: Session, hold: Hold, ana: uuid.UUID
    ) -> None:
        held = hold(session, "A1", buyer=ana)
        forget_redis()
        claims.client().set(keys.key("remembers-since"), timezone.now().timestamp() - 2 * queries.CLOCKS_APART)
        with pytest.raises(queries.NotYetKnown):
            queries.find_queued(held.pk, buyer=None)

    def test_hides_a_queued_request_of_another_buyer(self, session: Session, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        request = request_for(session, "A1", buyer=ana)
        claims.admit([claims.Applicant(request=request, claim_ms=5000, limits=[claims.Limit(10)], epoch=EPOCH)])
        with pytest.raises(Reservation.DoesNotExist):
            queries.find(request.id, buyer=bruno)


class TestStaff:
    def test_blocks_free_seats_only(self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
        hold(session, "A1", buyer=ana)
        assert inventory.block_seats(session=session.pk, labels=["A1", "A2"]) == ["A2"]
        lost = hold(session, "A2", buyer=bruno)
        assert lost.conflicts == [{"seat": "A2", "reason": "blocked"}]
        assert inventory.unblock_seats(session=session.pk, labels=["A1", "A2"]) == ["A2"]


class TestMap:
    def test_has_rising_versions_and_equals_its_replayed_log(
        self, session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID
    ) -> None:
        held = hold(session, "A1", "A2", buyer=ana)
        holding.release(reservation_id=held.pk, buyer=ana)
        run_out(hold(session, "A2", "B1", buyer=bruno))
        hold(session, "B1", buyer=ana)
        log = Event.objects.filter(session=session.pk, map_version__isnull=False).order_by("map_version")
        state = dict.fromkeys(Seat.objects.of(session.pk).values_list("label", flat=True), "f")
        for version, event in enumerate(log, start=1):
            assert event.map_version == version
            state |= event.facts["changes"]
        assert state == dict(Seat.objects.of(session.pk).values_list("label", "status"))


def test_stops_allocation_after_a_write_without_the_lock(session: Session, ana: uuid.UUID) -> None:
    places = statements.lock_places(session.pk, ["A1"])
    places["A1"].reservation_id = ana
    Seat.objects.of(session.pk).filter(label="A1").update(status="b")
    with pytest.raises(statements.SeatTakenUnderLock):
        statements.write([], list(places.values()), [timezone.now()], [])
