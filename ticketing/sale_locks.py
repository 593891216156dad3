"""Locks of sales and tickets: the last that any operation takes.

Note [Sales and tickets are locked last]
Sessions, reservations, payments, seats, ticket types, pools and vouchers come first (`reservations/allocation/locks.py`), then sales by id, then
tickets by id. A refund and a gate that takes money lock both; a gate that takes none and a giver lock the ticket alone. Each judges what it
read after the lock, so of a refund, a transfer and a check-in of one ticket the first decides what the others find.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from ticketing.models import Sale, Ticket, TicketStatus


def lock_sale(sale_id: UUID) -> Sale:
    """Raises: Sale.DoesNotExist."""
    return Sale.objects.select_for_update(no_key=True).get(pk=sale_id)


def lock_tickets(sale: Sale) -> list[Ticket]:
    """All tickets of a locked sale, by id."""
    rows = Ticket.objects.filter(sale=sale).select_related("seat", "session").order_by("pk")
    return list(rows.select_for_update(no_key=True, of=("self",)))


def lock_ticket(rows: QuerySet[Ticket], ticket_id: UUID) -> Ticket:
    """`rows`: those it may be one of. Raises: Ticket.DoesNotExist."""
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=ticket_id)


def lock_live_tickets(session_id: UUID) -> list[Ticket]:
    """All tickets of a locked session that admit somebody, by id: until the commit none of them is passed on."""
    rows = Ticket.objects.filter(session=session_id).exclude(status=TicketStatus.VOID).order_by("pk")
    return list(rows.select_for_update(no_key=True))
