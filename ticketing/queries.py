"""Read sales, tickets and payments."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from base.clock import rfc3339
from reservations.bodies import OrderBody
from reservations.models import Reservation, Status
from reservations.queries import place_in_queue
from sessions_app.models import Seat, Session
from ticketing import codes, voiding
from ticketing.bodies import HolderBody, Listed, OneTicketBody, RefundBody, SaleBody, TicketBody
from ticketing.models import OPEN, Payment, Refund, Sale, Ticket, TicketStatus, Transfer, User
from ticketing.voiding import Void, VoidReason


def sales_of(buyer: uuid.UUID | None = None) -> QuerySet[Sale]:
    """Return sales, newest first, with all that `sale_body` reads; without a buyer those of all buyers (staff)."""
    rows = Sale.objects.select_related(
        "payment", "reservation", "session__show", "session__hall__venue"
    ).prefetch_related("tickets__seat", "tickets__ticket_type", "tickets__refund", "tickets__session")
    return (rows.filter(buyer=buyer) if buyer else rows).order_by("-id")


def find_sale(sale_id: uuid.UUID, *, buyer: uuid.UUID | None) -> Sale:
    """Return the sale. Raises: Sale.DoesNotExist."""
    return sales_of(buyer).get(pk=sale_id)


def collect_until(tickets: Iterable[Ticket]) -> dt.datetime | None:
    """Return the earliest deadline for payment at the door; None if nothing is due or there is no deadline."""
    return min((until for ticket in tickets if (until := ticket.collect_until) is not None), default=None)


def find_ticket(ticket_id: uuid.UUID, *, buyer: uuid.UUID | None) -> Ticket:
    """Return the ticket. Raises: Ticket.DoesNotExist."""
    return tickets_of(buyer).get(pk=ticket_id)


def tickets_of(buyer: uuid.UUID | None) -> QuerySet[Ticket]:
    """Return tickets, newest first: bought and kept by the buyer, or received; None: those of all buyers (staff)."""
    rows = Ticket.objects.select_related(
        "sale__payment", "refund", "seat", "ticket_type", "session__show", "session__hall__venue"
    )
    kept = Q(sale__buyer=buyer, holder=None)
    return (rows.filter(kept | Q(holder=buyer)) if buyer else rows).order_by("-id")


def sale_body(sale: Sale, *, tickets: Sequence[Ticket] | None = None) -> SaleBody:
    """Return the JSON body of `GET /sales/{id}`. `tickets` are those of a new sale, in the order of its lines."""
    made = list(sale.tickets.all()) if tickets is None else tickets
    if tickets is None:
        told = [ticket_body(ticket, passed_on=ticket.holder is not None) for ticket in made]
    else:
        told = [
            _ticket_body(ticket, line["seat"], line["name"], void=None)
            for ticket, line in zip(tickets, sale.lines, strict=True)
        ]
    return {
        "id": str(sale.id),
        "number": str(sale.number),
        "status": sale.status_by(made),
        "session": str(sale.session_id),
        "reservation": str(sale.reservation_id),
        "lines": sale.lines,
        "total": {"amount": sale.total, "currency": sale.currency},
        "due": {"amount": sum(ticket.due for ticket in made), "currency": sale.currency},
        "payment": {"id": str(sale.payment_id), "method": sale.payment.method, "status": sale.payment.status},
        "tickets": told,
        "sold_at": rfc3339(sale.sold_at),
    }


def refund_body(refund: Refund) -> RefundBody:
    """Return the refund as a JSON body."""
    return {
        "id": str(refund.id),
        "status": refund.status,
        "amount": {"amount": refund.amount, "currency": refund.sale.currency},
        "tickets": [str(ticket.pk) for ticket in refund.tickets.all()],
        "asked_at": rfc3339(refund.asked_at),
    }


def ticket_body(ticket: Ticket, *, passed_on: bool = False) -> TicketBody:
    """Return a ticket's JSON body in its sale. A void or transferred one has no codes: they are its holder's alone."""
    seat = ticket.seat.label if ticket.seat else None
    return _ticket_body(ticket, seat, ticket.ticket_type.name, void=ticket.void, passed_on=passed_on)


def _ticket_body(
    ticket: Ticket, seat: str | None, kind: str, *, void: Void | None, passed_on: bool = False
) -> TicketBody:
    has_code = not passed_on and void is None
    return {
        "id": str(ticket.id),
        "seat": seat,
        "ticket_type": {"id": str(ticket.ticket_type_id), "name": kind},
        "concession": ticket.concession or None,
        "code": ticket.signed_code if has_code else None,
        "short_code": ticket.code if has_code else None,
        "status": TicketStatus.VOID.value if void else ticket.status,
        "void_reason": void.reason.value if void else None,
        "voided_at": rfc3339(void.at) if void else None,
        "due": ticket.due,
        "passed_on": passed_on,
    }


def one_ticket_body(ticket: Ticket) -> OneTicketBody:
    """Return the JSON body of `GET /tickets/{id}` for its holder."""
    return {
        **ticket_body(ticket),
        "passed_on": ticket.holder is not None,
        "sale": str(ticket.sale_id),
        "session": str(ticket.session_id),
        "used_at": rfc3339(ticket.used_at) if ticket.used_at else None,
        "gate": ticket.used_gate,
    }


def came(session_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    """Count each session's tickets: `used` and `sold`."""
    live = Ticket.objects.filter(session__in=session_ids).exclude(status=TicketStatus.VOID).order_by()
    counted = live.values("session").annotate(sold=Count("*"), used=Count("used_at"))
    return {row["session"]: {"sold": row["sold"], "used": row["used"]} for row in counted}


def door_list(session: Session) -> Iterator[Listed]:
    """Yield every code of the session by its digest, also earlier codes, ready for JSON."""
    off = voiding.of_session(session)
    columns = (
        "code",
        "seat__label",
        "ticket_type__name",
        "concession",
        "concession_note",
        "status",
        "used_at",
        "used_gate",
        "due",
        "sale__currency",
    )
    ended = ("refund__reason", "refund__asked_by", "sale__buyer")
    for *facts, why, by, buyer in Ticket.objects.filter(session=session).values_list(*columns, *ended).iterator(2_000):
        listed = _listed(*facts)
        if off is not None:
            listed = _void_for(off.reason, listed)
        elif listed["status"] == TicketStatus.VOID:
            listed = _void_for(voiding.reason_of(why, asked_by=by, buyer=buyer), listed)
        yield listed
    old = Transfer.objects.filter(ticket__session=session)
    for code, seat, kind in old.values_list("code", "ticket__seat__label", "ticket__ticket_type__name"):
        listed = _listed(code, seat, kind, "", "", TicketStatus.VOID, None, "", 0, "")
        yield _void_for(off.reason if off else VoidReason.PASSED_ON, listed)


def _void_for(reason: VoidReason, listed: Listed) -> Listed:
    return {**listed, "status": TicketStatus.VOID.value, "void_reason": reason.value}


def _listed(
    code: str,
    seat: str | None,
    kind: str,
    concession: str,
    note: str,
    status: str,
    used_at: dt.datetime | None,
    gate: str,
    due: int,
    currency: str,
) -> Listed:
    return {
        "digest": codes.digest(code),
        "seat": seat,
        "ticket_type": kind,
        "concession": concession or None,
        "note": note,
        "status": status,
        "void_reason": None,
        "used_at": rfc3339(used_at) if used_at else None,
        "gate": gate,
        "due": {"amount": due, "currency": currency} if due else None,
    }


def place_of(order: OrderBody) -> int | None:
    """Return the place of a waiting order in the queue; None if it is unknown."""
    if order["status"] != "PENDING":
        return None
    if order["standby"] is not None:
        return int(order["standby"])
    return place_in_queue(session=uuid.UUID(order["session"]), arrival=order["arrival"])


def sale_body_of(sale_id: uuid.UUID | str | None) -> SaleBody | None:
    """Return the body of a sale that belongs to the buyer; None for None."""
    return sale_body(sales_of().get(pk=sale_id)) if sale_id else None


def holders(
    session_id: uuid.UUID,
    *,
    seats: Collection[str] | None = None,
    reservation: uuid.UUID | None = None,
    limit: int,
) -> list[HolderBody]:
    """List buyers with their seats for JSON, newest first: all, or those of these seats or this reservation.

    Of a person it shows only the buyer's id and the name of an account.
    """
    if reservation is not None:
        owners = {reservation}
    elif seats is not None:
        owned = Seat.objects.of(session_id).filter(label__in=seats).values_list("reservation_id", flat=True)
        owners = {owner for owner in owned if owner is not None}
    else:
        owners = _owners(session_id, limit)
    rows = Reservation.objects.live(Now()).filter(session=session_id, pk__in=owners)
    found = list(rows.order_by("-id")[:limit])
    names = dict(User.objects.filter(pk__in={row.buyer for row in found}).values_list("pk", "username"))
    return [holder_body(row, username=names.get(row.buyer)) for row in found]


def _owners(session_id: uuid.UUID, limit: int) -> set[uuid.UUID]:
    """Return the newest reservations with seats by three indexes, without reading the many that have none."""
    held = Reservation.objects.held(Now()).filter(session=session_id).order_by("-id")
    bought = Sale.objects.filter(session=session_id).order_by("-id")
    paying = Payment.objects.filter(status__in=OPEN, reservation__session=session_id).order_by("-id")
    return {
        *held.values_list("pk", flat=True)[:limit],
        *bought.values_list("reservation_id", flat=True)[:limit],
        *paying.values_list("reservation_id", flat=True)[:limit],
    }


def holder_body(row: Reservation, *, username: str | None) -> HolderBody:
    return {
        "reservation": str(row.pk),
        "buyer": str(row.buyer),
        "username": username,
        "status": row.status,
        "status_name": row.get_status_display(),
        "held_until": row.claimed_until if row.status != Status.CONFIRMED else None,
        "seats": list(row.seats),
        "places": row.quantity,
    }
