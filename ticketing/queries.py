"""Reading sales, tickets and payments."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet

from ticketing.models import Sale, Ticket


def sales_of(buyer: uuid.UUID | None = None) -> QuerySet[Sale]:
    """Newest first, with all that `sale_body` reads; None: everybody's (staff)."""
    rows = Sale.objects.select_related("payment", "session__show", "session__hall__venue").prefetch_related(
        "tickets__seat", "tickets__ticket_type"
    )
    return (rows.filter(buyer=buyer) if buyer else rows).order_by("-id")


def find_sale(sale_id: uuid.UUID, *, buyer: uuid.UUID | None) -> Sale:
    """Raises: Sale.DoesNotExist."""
    return sales_of(buyer).get(pk=sale_id)


def find_ticket(ticket_id: uuid.UUID, *, buyer: uuid.UUID | None) -> Ticket:
    """Raises: Ticket.DoesNotExist."""
    rows = Ticket.objects.select_related("sale", "seat", "ticket_type", "session__show", "session__hall__venue")
    return (rows.filter(sale__buyer=buyer) if buyer else rows).get(pk=ticket_id)


def sale_body(sale: Sale) -> dict[str, Any]:
    """JSON-ready, as `GET /sales/{id}` answers it."""
    return {
        "id": str(sale.id),
        "number": str(sale.number),
        "status": sale.status,
        "session": str(sale.session_id),
        "reservation": str(sale.reservation_id),
        "lines": sale.lines,
        "total": {"amount": sale.total, "currency": sale.currency},
        "payment": {"id": str(sale.payment_id), "method": sale.payment.method, "status": sale.payment.status},
        "tickets": [ticket_body(ticket) for ticket in sale.tickets.all()],
        "sold_at": sale.sold_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
    }


def ticket_body(ticket: Ticket) -> dict[str, Any]:
    """JSON-ready, as `GET /tickets/{id}` answers it."""
    return {
        "id": str(ticket.id),
        "seat": ticket.seat.label if ticket.seat else None,
        "ticket_type": {"id": str(ticket.ticket_type_id), "name": ticket.ticket_type.name},
        "code": ticket.code,
        "status": ticket.status,
    }


def sale_body_of(sale_id: uuid.UUID | str | None) -> dict[str, Any] | None:
    """The body of a sale that is known to be the asker's; None for None."""
    return sale_body(sales_of().get(pk=sale_id)) if sale_id else None


def sale_bodies(sale_ids: Collection[uuid.UUID]) -> dict[str, dict[str, Any]]:
    """The bodies of sales that are known to be the asker's, by their ids as text."""
    return {str(sale.pk): sale_body(sale) for sale in sales_of().filter(pk__in=sale_ids)} if sale_ids else {}
