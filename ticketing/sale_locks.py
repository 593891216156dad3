"""Lock sales and tickets, the last locks of any operation.

Note [Sales and tickets are locked last]
Locks of sessions, reservations, payments, seats, ticket types, pools and vouchers come first
(`reservations/allocation/locks.py`), then sales by id, then tickets by id. A refund and a gate that collects money lock
both. A gate that collects none and a giver lock only the ticket. Each judges what it read after the lock. So of a
refund, a transfer and a check-in of one ticket, the first decides what the others find.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import QuerySet

from ticketing.models import Sale, Ticket, TicketStatus


def lock_sale(sale_id: UUID) -> Sale:
    """Lock the sale. Raises: Sale.DoesNotExist."""
    return Sale.objects.select_for_update(no_key=True).get(pk=sale_id)


def lock_tickets(sale: Sale) -> list[Ticket]:
    """Lock all tickets of a locked sale, by id."""
    rows = Ticket.objects.filter(sale=sale).select_related("seat", "session").order_by("pk")
    return list(rows.select_for_update(no_key=True, of=("self",)))


def lock_ticket(rows: QuerySet[Ticket], ticket_id: UUID) -> Ticket:
    """Lock the ticket if it is among `rows`. Raises: Ticket.DoesNotExist."""
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=ticket_id)


def lock_live_tickets(session_id: UUID) -> list[Ticket]:
    """Lock all valid tickets of a locked session, by id. Until the commit none of them is transferred."""
    rows = Ticket.objects.filter(session=session_id).exclude(status=TicketStatus.VOID).order_by("pk")
    return list(rows.select_for_update(no_key=True))
