"""Filter sales and tickets for a reader. Codes that open doors are for their holders, and for staff with permission."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

from base.asking import Buyer
from ticketing import queries
from ticketing.bodies import OneTicketBody, SaleBody, TicketBody
from ticketing.models import Sale, Ticket
from ticketing.people.roles import SEES_CODES

Shown = TypeVar("Shown", TicketBody, OneTicketBody)


def sale_bodies(sale_ids: Collection[UUID], reader: Buyer) -> dict[str, SaleBody]:
    """Return the bodies of sales that the reader may open, by their ids as text."""
    found = queries.sales_of().filter(pk__in=sale_ids) if sale_ids else []
    return {str(sale.pk): sale_body_for(reader, sale) for sale in found}


def sale_body_for(reader: Buyer, sale: Sale) -> SaleBody:
    """Return the sale as the reader may see it. Staff without the permission for codes see none."""
    body = queries.sale_body(sale)
    if reader.id != sale.buyer and not reader.was_given(SEES_CODES):
        body["tickets"] = [_without_codes(ticket) for ticket in body["tickets"]]
    return body


def ticket_body_for(reader: Buyer, ticket: Ticket) -> OneTicketBody:
    """Return the ticket as the reader may see it. Staff without the permission for codes see none."""
    body = queries.one_ticket_body(ticket)
    return body if reader.id == ticket.owner or reader.was_given(SEES_CODES) else _without_codes(body)


def _without_codes(ticket: Shown) -> Shown:
    shown = ticket.copy()
    shown["code"] = shown["short_code"] = None
    return shown
