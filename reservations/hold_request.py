"""Represent a buyer's request, before and after it has its place in the queue."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from base import causes
from base.causes import Cause
from reservations.hold_caps import NONE, Caps

# An arrival is epoch * 2²⁴ + count: 16 million requests of a session in an epoch, and half a billion epochs until it
# reaches 2⁵³, where Lua and JavaScript begin to round. Each session takes an epoch, so does each change of queue and,
# while Redis is away, each batch.
EPOCH_BITS = 24
HOLD_SCOPE = "POST /api/v1/reservations"
ORDER_SCOPE = "POST /api/v1/orders"
Concessions = tuple[tuple[str, str | int], ...]  # seat → concession; for unnumbered places: concession → how many
COUNTER_SCOPE = "the counter"  # the buyer is at the counter and pays in a moment
AT_THE_DOOR = "door"  # the method of places that are sold now and paid when their tickets are scanned
UNREADABLE = msgspec.ValidationError  # raised by `HoldRequest.from_json` for anything else


class Means(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The means by which an order is paid once its places are held; `language` is its receipt's."""

    method: str
    token: str = ""
    email: str = ""
    language: str = "en"

    def to_json(self) -> dict[str, str]:
        return msgspec.structs.asdict(self)


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The address that the receipt goes to, and its language."""

    email: str = ""
    language: str = "en"

    def to_json(self) -> dict[str, str]:
        return msgspec.structs.asdict(self)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer's request for places of a session.

    It has one of: `seats`; `ticket_type` with `quantity`; `best_available` with `quantity` (and perhaps a
    `ticket_type`).
    """

    session: uuid.UUID
    seats: tuple[str, ...] = ()
    ticket_type: uuid.UUID | None = None
    quantity: int = 0
    best_available: bool = False
    accessible: bool = False
    key: str = ""
    scope: str = HOLD_SCOPE
    payment: Means | None = None
    receipt: Receipt | None = None  # set for an order that carries no payment
    concessions: Concessions = ()
    voucher: str = ""
    lane_code: str = ""

    @property
    def asks_stock(self) -> bool:
        """Tell whether it is for unnumbered places."""
        return self.ticket_type is not None and not self.best_available

    @property
    def places(self) -> int:
        return len(self.seats) or self.quantity

    @property
    def counted_by(self) -> str:
        """Return the field that says how many places."""
        return "seats" if self.seats else "best_available.quantity" if self.best_available else "quantity"

    def fingerprint(self) -> str:
        """Return a hash that is the same for the same request, in any order of its seats and in any lane."""
        said: list[Any] = [
            self.session.hex,
            sorted(self.seats),
            str(self.ticket_type),
            self.quantity,
            self.best_available,
            self.accessible,
        ]
        if self.payment:
            said += [self.payment.method, self.payment.token, self.payment.email]
        elif self.receipt and self.receipt.email:
            said += [self.receipt.email]
        if self.concessions or self.voucher:
            said += [sorted(self.concessions), self.voucher]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An ask with its place in the queue. Travels as JSON; a newer field must have a default, for rolling deploys."""

    id: uuid.UUID
    session: uuid.UUID
    buyer: uuid.UUID
    arrival: int
    accepted_at: dt.datetime
    seats: tuple[str, ...] = ()
    ticket_type: uuid.UUID | None = None
    quantity: int = 0
    best_available: bool = False
    accessible: bool = False
    key: str = ""
    scope: str = HOLD_SCOPE
    fingerprint: str = ""  # must not change under a key
    reply_to: str = ""  # the web process that waits for the outcome, if one does
    payment: Means | None = None
    concessions: Concessions = ()
    voucher: str = ""
    lane: str = ""  # by name; its code stays in admission
    caps: Caps = NONE
    cause: str = ""  # the id of the request that brought it
    actor: uuid.UUID | None = None  # the person who asked, where that isn't the buyer
    receipt: Receipt | None = None

    @classmethod
    def of(
        cls,
        ask: Ask,
        *,
        reservation: uuid.UUID,
        buyer: uuid.UUID,
        arrival: int,
        accepted_at: dt.datetime,
        reply_to: str = "",
        lane: str = "",
        caps: Caps = NONE,
    ) -> HoldRequest:
        """Return the ask with its place in the queue, and with the cause that this thread works for."""
        why = causes.current()
        return cls(
            id=reservation,
            session=ask.session,
            buyer=buyer,
            arrival=arrival,
            accepted_at=accepted_at,
            seats=ask.seats,
            ticket_type=ask.ticket_type,
            quantity=ask.quantity,
            best_available=ask.best_available,
            accessible=ask.accessible,
            key=ask.key,
            scope=ask.scope,
            fingerprint=ask.fingerprint(),
            reply_to=reply_to,
            payment=ask.payment,
            concessions=ask.concessions,
            voucher=ask.voucher,
            lane=lane,
            caps=caps,
            cause=why.id,
            actor=why.actor if why.actor != buyer else None,
            receipt=ask.receipt,
        )

    @property
    def why(self) -> Cause:
        return Cause(self.cause, self.actor or self.buyer)

    @property
    def is_order(self) -> bool:
        return self.scope == ORDER_SCOPE

    @property
    def names_terms(self) -> bool:
        """Tell whether it asks for another price than its places have."""
        return bool(self.concessions or self.voucher)

    @property
    def asks_stock(self) -> bool:
        """Tell whether it is for unnumbered places."""
        return self.ticket_type is not None and not self.best_available

    @property
    def pot(self) -> uuid.UUID:
        """Return the ticket type without numbers, or the session, in which its address's places are counted."""
        return self.ticket_type if self.ticket_type and self.asks_stock else self.session

    @property
    def places(self) -> int:
        return len(self.seats) or self.quantity

    def to_json(self) -> dict[str, object]:
        said: dict[str, object] = msgspec.to_builtins(self)
        return said

    def encoded(self) -> bytes:
        """Return `to_json` as text."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, said: Mapping[str, object]) -> HoldRequest:
        """Read a request. Raises: msgspec.ValidationError."""
        return msgspec.convert(said, cls)
