"""Build a house with a history: a row of each kind, in each state that people meet, by the real operations."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from django.utils import timezone

from base.ids import uuid7
from reservations.admission import front_door
from reservations.hold_request import AT_THE_DOOR, ORDER_SCOPE, Ask, HoldRequest, Means
from reservations.models import Reservation
from reservations.operations import holding
from reservations.queueing import inbox
from sessions_app import operations as catalogue
from sessions_app.models import Hall, Lane, Session, TicketType
from sessions_app.plans import grid
from tests import factories
from ticketing.letters import moving
from ticketing.models import Sale, Ticket, User, WebhookEvent
from ticketing.payments import refunds, starting, steps
from ticketing.people.roles import ensure_groups
from ticketing.tickets import doors, transfers

STAFF = ("owner", "boxoffice", "gate")
PASSWORD = "frontrow-demo"


@dataclass
class House:
    """Hold what the tests look for in a house. `people` are by name."""

    people: dict[str, User] = field(default_factory=dict)
    session: Session = field(init=False)
    called_off: Session = field(init=False)
    over: Session = field(init=False)

    @property
    def ana(self) -> UUID:
        return self.people["ana"].pk


def build() -> House:
    """Open the house: people, sessions that are on sale, called off and over, and a sale in every state."""
    house = House()
    _hire(house)
    _put_on_sale(house)
    _sell(house)
    _let_in(house)
    _give_back(house)
    _order(house)
    _call_off(house)
    _look_back(house)
    _leave_traces(house)
    return house


def ask(session: Session, *seats: str, buyer: UUID, **more: object) -> Reservation:
    """Hold places through the front door, and return the reservation."""
    wish = Ask(session=session.pk, seats=seats, **more)  # type: ignore[arg-type] # the caller names Ask's own fields
    return Reservation.objects.get(pk=front_door.admit(wish, buyer=buyer).id)


def buy(session: Session, *seats: str, buyer: UUID, token: str = "ok", **more: object) -> Sale | None:
    """Hold places and pay for them; return None if the card is declined."""
    held = ask(session, *seats, buyer=buyer, **more)
    payment = starting.start_payment(
        reservation_id=held.pk, buyer=buyer, method="fake", token=token, email="ana@example.com"
    )
    steps.finish_payment(payment_id=payment.pk)
    return Sale.objects.filter(reservation=held).first()


def _hire(house: House) -> None:
    groups = ensure_groups()
    for name in (*STAFF, "ana", "bruno"):
        person = factories.UserFactory.create(username=name, is_staff=name in STAFF, is_superuser=name == "owner")
        if name in groups:
            person.groups.add(groups[name])
        house.people[name] = person


def _put_on_sale(house: House) -> None:
    hall: Hall = factories.HallFactory.create(name="Sala Grande")
    catalogue.furnish(hall=hall, places=grid(rows=3, seats_per_row=4))
    house.session = factories.SessionFactory.create(hall=hall, room=hall.name, refund_minutes=60, seats=(4, 6))
    factories.ConcessionFactory.create(session=house.session)
    factories.VoucherFactory.create(session=house.session, code="MATINEE", amount=500, percent_off=None, currency="BRL")
    factories.VoucherFactory.create(code="EVERYWHERE", uses=5)
    Lane.objects.create(session=house.session, name="Members", code="members", weight=3)
    pool = factories.PoolFactory.create(session=house.session)
    shared = factories.StockFactory.create(session=house.session, name="Saturday", capacity=50)
    shared.pools.add(pool)
    factories.StockFactory.create(session=house.session, name="Balcony", capacity=20)
    factories.StockFactory.create(session=house.session, name="At the door", capacity=20, pay_at_door=True)
    house.called_off = factories.SessionFactory.create(show__title="The one that is off")
    house.over = factories.SessionFactory.create(show__title="The one that is over")


def _sell(house: House) -> None:
    buy(house.session, "A1", "A2", buyer=house.ana, concessions=(("A1", "Child"),))
    buy(house.session, "A3", buyer=house.ana, token="declined")
    buy(house.session, "B1", "B2", buyer=house.ana)
    buy(house.session, "B3", buyer=house.ana, voucher="MATINEE")
    ask(house.session, "C1", buyer=house.ana)
    ask(house.session, "C2", buyer=uuid4())
    given_up = ask(house.session, "C3", buyer=house.ana)
    holding.release(reservation_id=given_up.pk, buyer=house.ana)
    balcony = TicketType.objects.get(name="Balcony")
    buy(house.session, buyer=house.ana, ticket_type=balcony.pk, quantity=2)
    at_the_door = TicketType.objects.get(name="At the door")
    order = {"ticket_type": at_the_door.pk, "quantity": 1, "scope": ORDER_SCOPE, "key": uuid4().hex}
    ask(house.session, buyer=house.ana, payment=Means(method=AT_THE_DOOR, token=""), **order)


def _ticket(seat: str) -> Ticket:
    return Ticket.objects.get(seat__label=seat)


def _let_in(house: House) -> None:
    gabi = house.people["gate"]
    transfers.pass_on(ticket_id=_ticket("A2").pk, giver=house.ana, receiver=house.people["bruno"].pk)
    doors.check_in(code=_ticket("A1").code, by=gabi, gate="Door 1", session=house.session.pk, anyway=True)
    due = Ticket.objects.get(ticket_type__name="At the door")
    doors.check_in(code=due.code, by=gabi, gate="Door 1", session=house.session.pk, paid=True, anyway=True)


def _give_back(house: House) -> None:
    whole, part = _ticket("B3").sale, _ticket("B1").sale
    for sale, tickets in ((whole, None), (part, [_ticket("B1").pk])):
        refund = refunds.ask_refund(sale_id=sale.pk, buyer=house.ana, tickets=tickets)
        refunds.pay_back(refund_id=refund.pk)


def _order(house: House) -> None:
    balcony = TicketType.objects.get(name="Balcony")
    for token in ("ok", "declined"):
        means = Means(method="fake", token=token)
        order = {"ticket_type": balcony.pk, "quantity": 1, "scope": ORDER_SCOPE, "key": uuid4().hex}
        ask(house.session, buyer=house.ana, payment=means, **order)


def _call_off(house: House) -> None:
    """Call the session off, and move another one."""
    buy(house.called_off, "A1", buyer=house.ana)
    refunds.call_off(session_id=house.called_off.pk)
    moved = factories.SessionFactory.create(show__title="The one that is moved")
    buy(moved, "A1", buyer=house.ana)
    moving.move(session_id=moved.pk, changes={"room": "Sala 7"})


def _look_back(house: House) -> None:
    buy(house.over, "A1", buyer=house.ana)
    past = timezone.now() - dt.timedelta(days=2)
    Session.objects.filter(pk=house.over.pk).update(starts_at=past, ends_at=past + dt.timedelta(hours=2))
    house.over.refresh_from_db()


def _leave_traces(house: House) -> None:
    wish = Ask(session=house.session.pk, seats=("D4",))
    request = HoldRequest.of(
        wish, reservation=uuid7(), buyer=uuid4(), arrival=front_door.EPOCH + 99, accepted_at=timezone.now(), lane=""
    )
    inbox.store([request], shard_for=lambda _request: 0)
    WebhookEvent.objects.create(gateway="stripe", event="evt_1", kind="payment_intent.succeeded")
