"""Money and tickets. Authorise, sell, capture: in that order, so that nothing is charged for a seat that is gone.

Note [The three steps of a payment]
1. `start_payment`, one transaction: the reservation is `paying` and its seats are pinned, once.
2. The gateway authorises, outside of any transaction. Then one transaction sells the seats and writes sale and tickets,
   or puts the hold back.
3. The gateway captures. Whatever dies in between, `sweep_payments` takes the attempt up again: each step may be repeated.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now
from prometheus_client import Counter

from reservations import allocation, replies
from reservations import operations as reserving
from reservations.announcements import Announcements
from reservations.claims import NoClaims
from reservations.models import Status
from reservations.operations import announce, lock_held
from sessions_app.models import Seat
from ticketing.gateways import Gateway, GatewayTimeout, Standing, fake
from ticketing.models import OPEN, Payment, PaymentStatus, Sale, Ticket, TicketStatus, User
from ticketing.queries import find_sale, sale_body, sales_of

log = structlog.get_logger(__name__)

PIN = dt.timedelta(minutes=10)  # how long a payment may keep seats beyond their hold; the sweep settles it long before
SWEEP_AFTER = dt.timedelta(seconds=15)  # longer than the gateway's deadline: nobody works on it any more

payments = Counter("frontrow_payments_total", "Payment attempts that ended, by outcome.", ["outcome"])


class UnknownMethod(Exception):
    """There is no such way to pay here."""


class UnknownToken(Exception):
    """The sandbox doesn't know this token."""


def gateway(method: str) -> Gateway:
    """Raises: UnknownMethod."""
    if method != "fake":
        raise UnknownMethod(method)
    return fake


@transaction.atomic(durable=True)
def start_payment(
    *,
    reservation_id: uuid.UUID,
    buyer: uuid.UUID | None,
    method: str,
    token: str,
    email: str = "",
    language: str = "en",
) -> Payment:
    """Pin the hold and open an attempt; `settle_payment` must follow.

    Raises: UnknownMethod, UnknownToken, ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, NotYetKnown.
    """
    gateway(method)
    if token not in fake.TOKENS:
        raise UnknownToken(token)
    locked = lock_held(reservation_id=reservation_id, buyer=buyer)
    reservation = locked.reservation
    payment = Payment.objects.create(
        reservation=reservation,
        method=method,
        token=token,
        amount=reservation.total,
        currency=reservation.currency,
        email=email,
        language=language,
    )
    allocation.pin(locked, until=locked.now + PIN)
    announce(locked.news)
    return payment


def settle_payment(*, payment_id: uuid.UUID, reply_to: str = "") -> None:
    """Bring an attempt to its end: a sale, or the hold goes on. Again is harmless."""
    payment = Payment.objects.get(pk=payment_id)
    if payment.status == PaymentStatus.STARTED:
        _sell_or_put_back(payment, _authorise(payment))
        payment.refresh_from_db()
    if payment.status == PaymentStatus.AUTHORISED:
        _capture(payment)
    _reply(payment_id, reply_to)


def _authorise(payment: Payment) -> Standing:
    """Ask the gateway; after a time-out ask how it stands, and make sure that what it never heard of can't come later."""
    through = gateway(payment.method)
    try:
        return through.authorise(
            attempt=payment.pk, amount=payment.amount, currency=payment.currency, token=payment.token
        )
    except GatewayTimeout:
        standing = through.find(attempt=payment.pk)
        if standing.state != "unknown":
            return standing
        through.void(attempt=payment.pk)
        return Standing("voided", reason="gateway_timeout")


def _sell_or_put_back(payment: Payment, standing: Standing) -> None:
    if standing.state in {"authorised", "captured"}:
        _sell(payment_id=payment.pk)
    else:
        _put_back(payment_id=payment.pk, standing=standing)


@transaction.atomic(durable=True)
def _sell(*, payment_id: uuid.UUID) -> None:
    """Seats sold, sale and tickets written, all or nothing."""
    locked, payment = _lock(payment_id)
    if payment.status != PaymentStatus.STARTED or locked.reservation.status != Status.PAYING:
        return  # somebody else took this step
    sale = Sale(
        number=_next_number(),
        reservation=locked.reservation,
        payment=payment,
        session=locked.session,
        buyer=locked.reservation.buyer,
        lines=locked.reservation.lines,
        total=payment.amount,
        currency=payment.currency,
        email=payment.email,
        language=payment.language,
    )
    seats = {seat.label: seat for seat in allocation.sell(locked, sale=sale.pk)}
    sale.save(force_insert=True)
    Ticket.objects.bulk_create(
        Ticket(
            sale=sale,
            session=locked.session,
            seat=seats.get(line["seat"]),
            ticket_type_id=line["ticket_type"],
            price=line["price"]["amount"],
        )
        for line in sale.lines
    )
    _set(payment, PaymentStatus.AUTHORISED)
    locked.news.sold(locked.reservation, sale=sale_body(find_sale(sale.pk, buyer=sale.buyer)))
    announce(locked.news)


@transaction.atomic(durable=True)
def _put_back(*, payment_id: uuid.UUID, standing: Standing) -> None:
    locked, payment = _lock(payment_id)
    if payment.status != PaymentStatus.STARTED:
        return
    payment.reason = standing.reason or standing.state
    _set(payment, PaymentStatus.DECLINED if standing.state == "declined" else PaymentStatus.FAILED)
    locked.news.fact(
        "payment.declined", reservation=locked.reservation, facts={"payment": str(payment.pk), "reason": payment.reason}
    )
    if locked.reservation.status == Status.PAYING:
        allocation.unpin(locked)
    announce(locked.news)
    payments.labels(payment.status).inc()


def _capture(payment: Payment) -> None:
    """Take the money for what was sold. A gateway that doesn't answer is asked again by the sweep."""
    try:
        standing = gateway(payment.method).capture(attempt=payment.pk)
    except GatewayTimeout:
        log.warning("payment.capture_later", payment=str(payment.pk))
        return
    if standing.state != "captured":
        log.error("payment.not_captured", payment=str(payment.pk), state=standing.state)
        return
    _note_capture(payment_id=payment.pk)


@transaction.atomic(durable=True)
def _note_capture(*, payment_id: uuid.UUID) -> None:
    locked, payment = _lock(payment_id)
    if payment.status != PaymentStatus.AUTHORISED:
        return
    _set(payment, PaymentStatus.CAPTURED)
    facts = {"payment": str(payment.pk), "amount": payment.amount, "currency": payment.currency}
    news = Announcements(now=locked.now)
    news.fact("payment.captured", reservation=locked.reservation, facts=facts)
    announce(news)
    payments.labels("captured").inc()


def _lock(payment_id: uuid.UUID) -> tuple[allocation.Locked, Payment]:
    reservation_id = Payment.objects.values_list("reservation_id", flat=True).get(pk=payment_id)
    locked = allocation.lock_reservation(reservation_id=reservation_id, buyer=None)
    return locked, Payment.objects.select_for_update(no_key=True).get(pk=payment_id)


def _set(payment: Payment, status: PaymentStatus) -> None:
    payment.status = status
    payment.save(update_fields=["status", "reason"])
    Payment.objects.filter(pk=payment.pk).update(changed_at=Now())


def _next_number() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('sale_number')")
        number: int = cursor.fetchone()[0]
    return number


def _reply(payment_id: uuid.UUID, address: str) -> None:
    if not address:
        return
    try:
        replies.send({address: [(payment_id, payment_outcome(payment_id))]})
    except NoClaims as error:
        log.info("payment.reply_lost", error=repr(error.__cause__))


def payment_outcome(payment_id: uuid.UUID) -> dict[str, Any]:
    """`{"status", "reason", "sale": body or None}`."""
    payment = Payment.objects.get(pk=payment_id)
    sale = sales_of().filter(payment=payment).first()
    return {"status": payment.status, "reason": payment.reason, "sale": sale_body(sale) if sale else None}


def sweep_payments(*, limit: int = 200) -> int:
    """Take up attempts that nobody works on any more; how many."""
    left = (
        Payment.objects.filter(status__in=OPEN, started_at__lt=Now() - SWEEP_AFTER)
        .order_by("started_at")
        .values_list("pk", flat=True)
    )
    for payment_id in (swept := list(left[:limit])):
        log.warning("payment.swept", payment=str(payment_id))
        settle_payment(payment_id=payment_id)
    return len(swept)


def move_seats(*, reservation_id: uuid.UUID, seats: Sequence[str], to: Sequence[str]) -> None:
    """Staff gives a hold or a purchase other free seats at the same price. Tickets go along: same code, still valid.

    Raises: allocation.CannotMove, ReservationExpired, NotHeld, PaymentInProgress, Reservation.DoesNotExist.
    """
    reserving.move_seats(reservation_id=reservation_id, seats=seats, to=to, follow=_take_tickets_along)


def _take_tickets_along(locked: allocation.Locked, moved: list[tuple[Seat, Seat]]) -> None:
    sale = Sale.objects.filter(reservation=locked.reservation).first()
    if sale is None:
        return  # not paid for yet
    sale.lines = locked.reservation.lines
    sale.save(update_fields=["lines"])
    new_seats = {old.pk: new for old, new in moved}
    tickets = list(Ticket.objects.filter(sale=sale, seat__in=new_seats).exclude(status=TicketStatus.VOID))
    for ticket in tickets:
        assert ticket.seat_id is not None
        ticket.seat = new_seats[ticket.seat_id]
        ticket.ticket_type_id = ticket.seat.ticket_type_id
    Ticket.objects.bulk_update(tickets, ["seat", "ticket_type"])
    locked.news.sold(locked.reservation, sale=sale_body(find_sale(sale.pk, buyer=sale.buyer)))


@transaction.atomic(durable=True)
def adopt_guest(*, guest: uuid.UUID, user: User) -> None:
    """What the guest holds and bought is the user's from now on."""
    if guest == user.pk:
        return
    allocation.change_buyer(of=guest, to=user.pk)
    Sale.objects.filter(buyer=guest).update(buyer=user.pk)
    Ticket.objects.filter(holder=guest).update(holder=user.pk)
