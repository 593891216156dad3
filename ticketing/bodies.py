"""The shapes of sales, tickets and refunds as JSON: sent in answers and messages, and kept as the answer of a key."""

from __future__ import annotations

import datetime as dt
from typing import TypedDict

from reservations.bodies import Amount, Line


class PaymentRef(TypedDict):
    id: str
    method: str
    status: str


class TicketTypeRef(TypedDict):
    id: str
    name: str


class TicketBody(TypedDict):
    """A ticket as a sale tells it; without the codes if the reader may not see them."""

    id: str
    seat: str | None
    ticket_type: TicketTypeRef
    concession: str | None
    code: str | None
    short_code: str | None
    status: str
    void_reason: str | None
    voided_at: str | None
    due: int
    passed_on: bool


class OneTicketBody(TicketBody):
    """A ticket as `GET /tickets/{id}` answers it."""

    sale: str
    session: str
    used_at: str | None
    gate: str


class SaleBody(TypedDict):
    """A sale as `GET /sales/{id}` answers it."""

    id: str
    number: str
    status: str
    session: str
    reservation: str
    lines: list[Line]
    total: Amount
    due: Amount
    payment: PaymentRef
    tickets: list[TicketBody]
    sold_at: str


class RefundBody(TypedDict):
    id: str
    status: str
    amount: Amount
    tickets: list[str]
    asked_at: str


class PaymentOutcome(TypedDict):
    """What became of a payment. `sale`: what it bought, or None."""

    status: str
    reason: str
    sale: SaleBody | None


class Listed(TypedDict):
    """A code on a gate's list."""

    digest: str
    seat: str | None
    ticket_type: str
    concession: str | None
    note: str
    status: str
    void_reason: str | None
    used_at: str | None
    gate: str
    due: Amount | None


class HolderBody(TypedDict):
    """Who holds or bought places."""

    reservation: str
    buyer: str
    username: str | None
    status: str
    status_name: str
    held_until: dt.datetime | None
    seats: list[str]
    places: int


class LinkedHolder(HolderBody):
    """A holder as the desk's live map lists it."""

    link: str
    name: str
