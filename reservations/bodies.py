"""Define the shapes of reservations and orders as JSON, for stored rows, answers, messages and templates.

They are typed dictionaries, not structs: PostgreSQL and Redis give them back as they are, and no step converts them.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Amount(TypedDict):
    """Money in minor units."""

    amount: int
    currency: str


class NamedConcession(TypedDict):
    id: str
    name: str


class Line(TypedDict):
    """One place on a bill. Parts that are 0 are left out."""

    seat: str | None
    ticket_type: str
    name: str
    price: Amount
    concession: NotRequired[NamedConcession]
    base: NotRequired[Amount]
    discount: NotRequired[Amount]
    fee: NotRequired[Amount]
    tax: NotRequired[Amount]


class Conflict(TypedDict):
    """A seat that the request did not get, and why."""

    seat: str
    reason: str


class ReservationBody(TypedDict):
    """A reservation as `GET /reservations/{id}` answers it; `sale` is the sale's id."""

    id: str
    status: str
    session: str
    seats: list[str]
    ticket_type: str | None
    quantity: int
    arrival: int
    lines: list[Line]
    total: Amount | None
    voucher: str | None
    lane: str | None
    standby: int | None
    expires_at: str | None
    extensions_left: int
    reason: str | None
    conflicts: list[Conflict]
    duplicate_of: str | None
    sale: str | None
    accepted_at: NotRequired[str | None]  # of an allocated reservation


class OrderBody(TypedDict):
    """A reservation in the shape of an order; `sale` is the sale's id."""

    id: str
    status: str
    message: str
    reason: str | None
    place_in_line: int | None
    session: str
    ticket_type: str | None
    seats: list[str]
    quantity: int
    arrival: int
    lines: list[Line]
    total: Amount | None
    voucher: str | None
    lane: str | None
    standby: int | None
    expires_at: str | None
    conflicts: list[Conflict]
    sale: str | None


class ReservationMessage(TypedDict):
    """A message to a buyer's socket about a reservation; empty fields are left out."""

    type: Literal["reservation:update"]
    id: str
    status: str
    expires_at: NotRequired[str]
    standby: NotRequired[int]
    reason: NotRequired[str]
    conflicts: NotRequired[list[Conflict]]
    sale: NotRequired[str]


class OrderMessage(TypedDict):
    """A message to a buyer's socket about an order."""

    type: Literal["order:update"]
    id: str
    status: str
    message: str
    total: NotRequired[Amount]


PersonalMessage = ReservationMessage | OrderMessage
