"""Write the sale and its tickets, or restore the hold; put places back on sale."""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models.functions import Now

from base.causes import Cause
from base.rows import execute
from realtime import events
from realtime.events import NewEvent
from reservations import refusals
from reservations.allocation import changes, endings, locks, pricing
from reservations.hold_request import AT_THE_DOOR
from reservations.models import Reservation, Status
from reservations.operations import holding
from reservations.operations.queued import announce
from sessions_app.models import Concession, Seat
from ticketing import sale_locks
from ticketing.models import Account, Payment, PaymentStatus, Sale, Ticket, TicketStatus
from ticketing.payments import late, ledger, steps
from ticketing.payments.gateways import Standing
from ticketing.payments.ledger import Posting
from ticketing.payments.together import Together
from ticketing.queries import find_sale, sale_body


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    payment: uuid.UUID
    reference: str


@transaction.atomic(durable=True)
def _sell_all(asks: Sequence[Authorised]) -> list[str | Exception]:
    """Sell the seats, write sales and tickets, return late money, and return each outcome. See Note [Together]."""
    found = lock_all([ask.payment for ask in asks])
    references = {ask.payment: ask.reference for ask in asks}
    sold, lost = [], []
    for locked, payment in found:
        if payment.status != PaymentStatus.STARTED:
            continue  # another process took this step
        payment.reference = references[payment.pk] or payment.reference
        if locked.reservation.status == Status.PAYING and locked.session.cancelled_at is None:
            sold.append((locked, payment))
        else:
            lost.append((locked, payment))
    write_sales(sold)
    for locked, payment in lost:
        lose(locked, payment)
    if found:
        announce(found[0][0].news)
    standings = {payment.pk: payment.status for _locked, payment in found}
    return [standings[ask.payment] for ask in asks]


sell = Together(_sell_all)


def lock_all(payment_ids: Sequence[uuid.UUID]) -> list[tuple[locks.Locked, Payment]]:
    owners = Payment.objects.filter(pk__in=payment_ids).values_list("reservation_id", flat=True)
    locked = locks.lock_reservations(list(owners))
    rows = Payment.objects.select_for_update(no_key=True).filter(pk__in=payment_ids).order_by("pk")
    found = [(locked[row.reservation_id], row) for row in rows if row.reservation_id in locked]
    for owner, payment in found:
        if payment.cause:
            owner.reservation.changed_for = Cause(payment.cause, owner.reservation.buyer)
    return found


def write_sales(sold: Sequence[tuple[locks.Locked, Payment]]) -> None:
    """Write all sales of a batch, which share their `news`."""
    if not sold:
        return
    sales = [sale_of(locked.reservation, payment) for locked, payment in sold]
    for sale, number in zip(sales, next_numbers(len(sales)), strict=True):
        sale.number = number
        sale.sold_at = sold[0][0].now
    seats = changes.sell(
        [(locked, sale.pk) for (locked, _payment), sale in zip(sold, sales, strict=True)],
        due=[sale.pk for sale in sales if is_due(sale.payment)],
    )
    Sale.objects.bulk_create(sales)
    notes = notes_of(sales)
    tickets = {sale.pk: tickets_of(sale, seats[sale.reservation_id], notes) for sale in sales}
    Ticket.objects.bulk_create(ticket for some in tickets.values() for ticket in some)
    ledger.post(_dues_of(sales, tickets))
    for (locked, payment), sale in zip(sold, sales, strict=True):
        payment.status = PaymentStatus.DUE if is_due(payment) else PaymentStatus.AUTHORISED
        locked.news.sold(locked.reservation, sale=sale_body(sale, tickets=tickets[sale.pk]))
    steps.write([payment for _locked, payment in sold])


def is_due(payment: Payment) -> bool:
    """Tell whether the payment is collected at the door."""
    return payment.method == AT_THE_DOOR


def _dues_of(sales: Sequence[Sale], tickets: Mapping[uuid.UUID, Sequence[Ticket]]) -> list[Posting]:
    """Post payments at the door: they are earned now, but not collected yet."""
    return [
        Posting(debit=Account.DUE, credit=account, amount=amount, currency=sale.currency, payment=sale.payment_id)
        for sale in sales
        if is_due(sale.payment)
        for account, amount in ledger.parts_of(tickets[sale.pk]).items()
    ]


def sale_of(reservation: Reservation, payment: Payment) -> Sale:
    return Sale(
        reservation=reservation,
        payment=payment,
        session=reservation.session,
        buyer=reservation.buyer,
        lines=reservation.lines,
        total=payment.amount,
        currency=payment.currency,
        email=payment.email,
        language=payment.language,
    )


def notes_of(sales: Sequence[Sale]) -> dict[str, str]:
    """Return the condition of each concession by its id. A ticket keeps it as it is now."""
    chosen = {pricing.concession_id_of(line) for sale in sales for line in sale.lines} - {""}
    rows = Concession.objects.filter(pk__in=chosen).values_list("pk", "note") if chosen else ()
    return {str(concession): note for concession, note in rows}


def tickets_of(sale: Sale, seats: dict[str, int], notes: Mapping[str, str]) -> list[Ticket]:
    return [
        Ticket(
            sale=sale,
            session=sale.session,
            seat_id=seats.get(line["seat"]),
            ticket_type_id=line["ticket_type"],
            price=line["price"]["amount"],
            fee=pricing.part_of(line, "fee"),
            tax=pricing.part_of(line, "tax"),
            concession=pricing.concession_of(line),
            concession_note=notes.get(pricing.concession_id_of(line), ""),
            due=line["price"]["amount"] if is_due(sale.payment) else 0,
        )
        for line in sale.lines
    ]


def next_numbers(count: int) -> list[int]:
    return [row[0] for row in execute("SELECT nextval('sale_number') FROM generate_series(1, %s)", count)]


def lose(locked: locks.Locked, payment: Payment) -> None:
    """Start to return money that can buy nothing any more, authorised or captured."""
    keeps_the_seats = payment.status == PaymentStatus.STARTED  # late money must not release seats of another attempt
    payment.status = PaymentStatus.RETURNING
    payment.reason = payment.reason or "too_late"
    steps.write([payment])
    if keeps_the_seats and locked.reservation.status == Status.PAYING:
        _let_go(locked, reason=refusals.CalledOff.reason)
    locked.news.fact(
        "payment.lost", reservation=locked.reservation, facts={"payment": str(payment.pk), "reason": payment.reason}
    )


@transaction.atomic(durable=True)
def put_back(*, payment_id: uuid.UUID, standing: Standing) -> None:
    """Restore the hold while it lasts, after a declined or failed payment."""
    for locked, payment in lock_all([payment_id]):
        if payment.status != PaymentStatus.STARTED:
            return
        declined = standing.state == "declined"
        # The sweep asks again about money that may still come.
        payment.reason = standing.reason or standing.state
        if standing.state in {"unknown", "pending"}:
            payment.reason = steps.SILENT
        payment.reference = standing.reference or payment.reference
        payment.status = PaymentStatus.DECLINED if declined else PaymentStatus.FAILED
        steps.write([payment])
        locked.news.fact(
            "payment.declined",
            reservation=locked.reservation,
            facts={"payment": str(payment.pk), "reason": payment.reason},
        )
        if locked.reservation.status == Status.PAYING:
            _let_go(locked, reason=refusals.PaymentDeclined.reason)
        announce(locked.news)
        steps.payments.labels(payment.status).inc()


def _let_go(locked: locks.Locked, *, reason: str) -> None:
    """Restore the hold while it lasts.

    End an order with a stored payment, because its buyer cannot try another card.
    """
    if locked.reservation.payment is None:
        changes.unpin(locked)
    else:
        endings.free(locked, status=Status.CANCELLED, reason=reason)


@transaction.atomic(durable=True)
def unsell(*, payment_id: uuid.UUID) -> None:
    """Undo a sale whose authorisation is gone at the gateway: without money there is no sale."""
    for locked, payment in lock_all([payment_id]):
        if payment.status != PaymentStatus.AUTHORISED:
            return
        endings.lock_places_of(locked)
        sale = sale_locks.lock_sale(payment.sale.pk)
        left = [ticket for ticket in sale_locks.lock_tickets(sale) if ticket.status != TicketStatus.VOID]
        give_places_back(locked, sale, left)
        Sale.objects.filter(pk=sale.pk).update(refunded=sale.total)
        payment.status, payment.reason = PaymentStatus.VOIDED, "not_captured"
        steps.write([payment])
        locked.news.fact("payment.returned", reservation=locked.reservation, facts=late.facts_of_return(payment))
        announce(locked.news)
        steps.payments.labels("voided").inc()


def give_places_back(locked: locks.Locked, sale: Sale, tickets: Sequence[Ticket]) -> None:
    """Make these locked tickets void, and put their places back on sale, in the caller's transaction.

    A void ticket with `used_at` was given back by staff after its use. A holder who is not the buyer gets a letter.
    """
    used = {ticket.pk for ticket in tickets if ticket.status == TicketStatus.USED}
    unused = {ticket.pk for ticket in tickets} - used
    Ticket.objects.filter(pk__in=unused).update(status=TicketStatus.VOID, used_at=None, used_gate="", due=0)
    if used:
        Ticket.objects.filter(pk__in=used).update(status=TicketStatus.VOID)
    Sale.objects.filter(pk=sale.pk).note_change()
    events.record_many(
        [
            NewEvent(
                event="ticket.voided",
                session=ticket.session_id,
                buyer=ticket.holder,
                facts={"ticket": str(ticket.pk), "sale": str(sale.pk)},
            )
            for ticket in tickets
            if ticket.holder is not None
        ]
    )
    endings.take_back(
        locked,
        seats=[ticket.seat.label for ticket in tickets if ticket.seat],
        kinds=[(ticket.price, ticket.concession) for ticket in tickets],
    )


def close_if_paid(sale: Sale) -> None:
    """Close the payment of a locked sale if nothing is due at the door: all was paid, or all given back unpaid."""
    if Ticket.objects.filter(sale=sale, due__gt=0).exists():
        return
    is_over = (
        sale.waived == sale.total and not Ticket.objects.filter(sale=sale).exclude(status=TicketStatus.VOID).exists()
    )
    status = PaymentStatus.VOIDED if is_over else PaymentStatus.CAPTURED
    Payment.objects.filter(pk=sale.payment_id).update(status=status, changed_at=Now())
    # A separate transaction, because it locks the session first, as all changes of reservations do.
    transaction.on_commit(functools.partial(holding.no_longer_due, reservation_id=sale.reservation_id))


def move_seats(*, reservation_id: uuid.UUID, seats: Sequence[str], to: Sequence[str]) -> None:
    """Move a hold or sale to other free seats at the same price, for staff. Tickets keep their codes and stay valid.

    Raises: allocation.CannotMove, ReservationExpired, NotHeld, PaymentInProgress, Reservation.DoesNotExist.
    """
    holding.move_seats(reservation_id=reservation_id, seats=seats, to=to, follow=_take_tickets_along)


def _take_tickets_along(locked: locks.Locked, moved: list[tuple[Seat, Seat]]) -> None:
    if locked.reservation.sale_id is None:
        return  # not paid yet
    sale = sale_locks.lock_sale(locked.reservation.sale_id)
    now_at = {line["seat"]: line for line in locked.reservation.lines}
    new_labels = {old.label: new.label for old, new in moved}
    sale.lines = [now_at.get(new_labels.get(line["seat"], line["seat"]), line) for line in sale.lines]
    sale.save(update_fields=["lines"])
    Sale.objects.filter(pk=sale.pk).note_change()
    new_seats = {old.pk: new for old, new in moved}
    live = [ticket for ticket in sale_locks.lock_tickets(sale) if ticket.status != TicketStatus.VOID]
    tickets = [ticket for ticket in live if ticket.seat_id in new_seats]
    for ticket in tickets:
        assert ticket.seat_id is not None
        ticket.seat = new_seats[ticket.seat_id]
        ticket.ticket_type_id = ticket.seat.ticket_type_id
    Ticket.objects.bulk_update(tickets, ["seat", "ticket_type"])
    locked.news.sold(locked.reservation, sale=sale_body(find_sale(sale.pk, buyer=sale.buyer)))
