"""One ticket is given back, passed on and scanned at once: exactly one wins, and money, holder and door agree."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from realtime.models import Event
from sessions_app.models import Session
from tests.conftest import Hold
from tests.factories import SessionFactory, StockFactory, UserFactory
from tests.race.racing import ROUNDS, race
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing import sale_locks
from ticketing.models import CheckIn, Refund, Sale, Ticket, Transfer, User
from ticketing.payments import refunds, starting, steps
from ticketing.refusals import AlreadyUsed, CannotPassOn, NothingToRefund, SessionCancelled, TicketVoid
from ticketing.tickets import doors, transfers

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]

SEATS = [f"{row}{number}" for row in "ABCD" for number in range(1, 5)]
LOSES = (AlreadyUsed, TicketVoid, NothingToRefund, CannotPassOn, Ticket.DoesNotExist)


@pytest.fixture
def gabi() -> User:
    made: User = UserFactory.create(username="gabi", is_staff=True)
    return made


def bought(hold: Hold, session: Session, seat: str) -> Ticket:
    payment = pay(hold(session, seat, buyer=uuid.uuid4()))
    return Ticket.objects.select_related("sale").get(sale__payment=payment)


def tickets(hold: Hold, number: int) -> Iterator[Ticket]:
    """Return this many tickets, each of a sale of its own."""
    for first in range(0, number, len(SEATS)):
        session = SessionFactory.create()
        for seat in SEATS[: number - first]:
            yield bought(hold, session, seat)


def give_back(ticket: Ticket, *, by: uuid.UUID | None) -> str:
    refunds.ask_refund(sale_id=ticket.sale_id, buyer=by, tickets=[ticket.pk])
    return "refunded"


def call_off(ticket: Ticket) -> str:
    """Give money back as for a cancelled session: for all that is left of the sale."""
    refunds.ask_refund(sale_id=ticket.sale_id, buyer=None, reason="session_cancelled")
    return "refunded"


def pass_on(ticket: Ticket) -> str:
    transfers.pass_on(ticket_id=ticket.pk, giver=ticket.sale.buyer, receiver=uuid.uuid4())
    return "passed on"


def scan(ticket: Ticket, by: User, *, code: str, paid: bool = False, seconds_ago: int = 0) -> str:
    doors.check_in(code=code, by=by, gate="Door 1", paid=paid, seconds_ago=seconds_ago)
    return "admitted"


def winners(outcomes: Sequence[str | Exception]) -> Counter[str]:
    for outcome in outcomes:
        assert isinstance(outcome, (str, *LOSES)), repr(outcome)
    return Counter(outcome for outcome in outcomes if isinstance(outcome, str))


def expect_agreement(ticket: Ticket, won: Counter[str]) -> None:
    """Check that money, holder and door agree with the winners' answers."""
    now = Ticket.objects.get(pk=ticket.pk)
    assert Refund.objects.filter(sale=ticket.sale_id).count() == won["refunded"]
    assert CheckIn.objects.filter(ticket=ticket, outcome="admitted").count() == won["admitted"]
    assert Transfer.objects.filter(ticket=ticket).count() == won["passed on"]
    assert now.status == ("void" if won["refunded"] else "used" if won["admitted"] else "valid")
    assert (now.used_at is not None) == bool(won["admitted"])
    told = Event.objects.filter(name="ticket.voided", facts__ticket=str(ticket.pk)).count()
    assert told == (1 if won["refunded"] and won["passed on"] else 0)


def expect_sound(*, besides: str = "") -> None:
    """Check that the books are sound; `besides` names a check of the audit that this race may fail."""
    for refund in Refund.objects.values_list("pk", flat=True):
        refunds.pay_back(refund_id=refund)
    Event.objects.update(published_at=Now())
    findings: Any = audit()["findings"]
    assert [found for found in findings if found["check"] != besides] == []


def test_one_of_refund_transfer_and_check_in_wins(hold: Hold, gabi: User) -> None:
    total: Counter[str] = Counter()
    rounds = max(ROUNDS, 12)
    for number, ticket in enumerate(tickets(hold, rounds)):
        steps = [
            partial(give_back, ticket, by=ticket.sale.buyer),
            partial(pass_on, ticket),
            partial(scan, ticket, gabi, code=ticket.code),
        ]
        turned = steps[number % 3 :] + steps[: number % 3]
        won = winners(race(turned))
        assert won.total() == 1
        expect_agreement(ticket, won)
        total += won
    assert total.total() == rounds
    expect_sound()


def test_staff_refund_always_succeeds_and_all_records_agree(hold: Hold, gabi: User) -> None:
    """Staff may give back used and passed-on tickets: once, and holder and door know of it."""
    for ticket in tickets(hold, max(ROUNDS // 2, 6)):
        steps = [
            partial(give_back, ticket, by=None),
            partial(call_off, ticket),
            partial(pass_on, ticket),
            partial(scan, ticket, gabi, code=ticket.code),
            partial(scan, ticket, gabi, code=ticket.code, seconds_ago=60),
        ]
        outcomes = race(steps)
        won = winners(outcomes)
        assert won["refunded"] == 1
        won["admitted"] = min(won["admitted"], 1)  # the earlier scan takes the later one's place
        expect_agreement(ticket, won)
    expect_sound(besides="let_in_and_paid_back")  # when the earlier scan is told last, that is what happened


def test_money_is_taken_at_the_door_or_the_ticket_is_given_back(hold: Hold, gabi: User) -> None:
    for _number in range(max(ROUNDS // 3, 4)):
        kind = StockFactory.create(session=SessionFactory.create(), pay_at_door=True)
        ticket = reserved_at_the_door(hold, kind.session, kind.pk)
        steps = [
            partial(give_back, ticket, by=ticket.sale.buyer),
            partial(pass_on, ticket),
            partial(scan, ticket, gabi, code=ticket.code, paid=True),
        ]
        won = winners(race(steps))
        assert won.total() == 1
        expect_agreement(ticket, won)
        sale = Sale.objects.select_related("payment").get(pk=ticket.sale_id)
        expected = {"refunded": "voided", "admitted": "captured", "passed on": "due"}
        assert sale.payment.status == expected[next(iter(won))]
    expect_sound()


def reserved_at_the_door(hold: Hold, session: Session, kind: uuid.UUID) -> Ticket:
    held = hold(session, buyer=uuid.uuid4(), ticket_type=kind, quantity=1)
    ask = starting._Start(  # noqa: SLF001 as an order begins it
        reservation=held.pk, buyer=held.buyer, method="door", token="", email="", language="en"
    )
    payment = starting._start(ask)  # noqa: SLF001
    steps.finish_payment(payment_id=payment.pk)
    return Ticket.objects.select_related("sale").get(sale__payment=payment)


def test_offline_scan_from_before_a_refund_is_recorded_and_named_by_the_audit(
    hold: Hold, session: Session, gabi: User
) -> None:
    """The bearer came in while the ticket was good. It stays void, and the house learns who has its money."""
    ticket = bought(hold, session, "A1")
    give_back(ticket, by=ticket.sale.buyer)
    assert scan(ticket, gabi, code=ticket.code, seconds_ago=3600) == "admitted"
    expect_agreement(ticket, Counter(refunded=1, admitted=1))
    (told,) = Event.objects.filter(name="ticket.let_in_and_refunded")
    assert told.facts["refund"] == str(Refund.objects.get().pk)
    with pytest.raises(TicketVoid):
        scan(ticket, gabi, code=ticket.code)
    assert Event.objects.filter(name="ticket.let_in_and_refunded").count() == 1
    assert findings() == {"let_in_and_paid_back"}
    CheckIn.objects.update(recorded_at=F("recorded_at") - dt.timedelta(days=8))
    Refund.objects.update(asked_at=F("asked_at") - dt.timedelta(days=8))
    assert "let_in_and_paid_back" not in findings()


def test_offline_scan_from_before_a_session_was_called_off_is_no_loss(hold: Hold, session: Session, gabi: User) -> None:
    ticket = bought(hold, session, "A1")
    refunds.call_off(session_id=session.pk)
    call_off(ticket)
    assert scan(ticket, gabi, code=ticket.code, seconds_ago=3600) == "admitted"
    with pytest.raises(SessionCancelled):
        scan(ticket, gabi, code=ticket.code)
    expect_agreement(ticket, Counter(refunded=1, admitted=1))
    expect_sound()


def test_offline_scan_of_a_used_ticket_that_staff_gave_back_takes_its_place(
    hold: Hold, session: Session, gabi: User
) -> None:
    ticket = bought(hold, session, "A1")
    scan(ticket, gabi, code=ticket.code)
    give_back(ticket, by=None)
    assert scan(ticket, gabi, code=ticket.code, seconds_ago=3600) == "admitted"
    expect_agreement(ticket, Counter(refunded=1, admitted=1))
    assert not Event.objects.filter(name="ticket.let_in_and_refunded").exists()
    assert Event.objects.filter(name="ticket.let_in_twice").exists()
    expect_sound()


class TestWithoutTheLock:
    """Controls: both have looked before either writes, so both win, and the audit sees it."""

    @pytest.fixture
    def ticket(self, hold: Hold, session: Session, monkeypatch: pytest.MonkeyPatch) -> Ticket:
        made = bought(hold, session, "A1")
        looked = threading.Barrier(2)

        def look_at_all(sale: Sale) -> list[Ticket]:
            found = list(Ticket.objects.filter(sale=sale).select_related("seat", "session"))
            looked.wait(10)
            return found

        def look_at_one(rows: QuerySet[Ticket], ticket_id: uuid.UUID) -> Ticket:
            found = rows.get(pk=ticket_id)
            looked.wait(10)
            return found

        monkeypatch.setattr(sale_locks, "lock_tickets", look_at_all)
        monkeypatch.setattr(sale_locks, "lock_ticket", look_at_one)
        return made

    def test_refund_and_transfer_would_both_win(self, ticket: Ticket) -> None:
        both: list[Callable[[], str]] = [partial(give_back, ticket, by=ticket.sale.buyer), partial(pass_on, ticket)]
        assert race(both) == ["refunded", "passed on"]
        assert "void_and_not_told" in findings()

    def test_refund_and_check_in_would_both_win(self, ticket: Ticket, gabi: User) -> None:
        both = [partial(give_back, ticket, by=ticket.sale.buyer), partial(scan, ticket, gabi, code=ticket.code)]
        assert race(both) == ["refunded", "admitted"]
        assert "paid_back_and_admitted" in findings()

    def test_check_in_and_transfer_would_both_win(self, ticket: Ticket, gabi: User) -> None:
        both = [partial(pass_on, ticket), partial(scan, ticket, gabi, code=ticket.code)]
        assert race(both) == ["passed on", "admitted"]


def findings() -> set[str]:
    return {finding["check"] for finding in audit()["findings"]}  # type: ignore[attr-defined]


def test_called_off_session_passes_no_ticket_on(hold: Hold, session: Session) -> None:
    ticket = bought(hold, session, "A1")
    refunds.call_off(session_id=session.pk)
    with pytest.raises(CannotPassOn, match="called_off"):
        pass_on(ticket)
