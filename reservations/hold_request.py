"""What a buyer asks for, and the same once it stands in line."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import uuid
from typing import Any

# An arrival is epoch * 2²⁴ + count: 16 million requests of a session in an epoch, and half a billion epochs until it reaches 2⁵³, where
# Lua and JavaScript begin to round. Each session takes an epoch, each change of line, and while Redis is away each batch.
EPOCH_BITS = 24
HOLD_SCOPE = "POST /api/v1/reservations"
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)  # what `HoldRequest.from_json` raises for anything else


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One of: `seats`; `ticket_type` with `quantity`; `best_available` with `quantity` (and perhaps a `ticket_type`)."""

    session: uuid.UUID
    seats: tuple[str, ...] = ()
    ticket_type: uuid.UUID | None = None
    quantity: int = 0
    best_available: bool = False
    accessible: bool = False
    key: str = ""
    scope: str = HOLD_SCOPE

    @property
    def places(self) -> int:
        return len(self.seats) or self.quantity

    @property
    def counted_by(self) -> str:
        """The field that says how many places."""
        return "seats" if self.seats else "best_available.quantity" if self.best_available else "quantity"

    def fingerprint(self) -> str:
        """The same for the same request, whatever order its seats came in."""
        said = [
            self.session.hex,
            sorted(self.seats),
            str(self.ticket_type),
            self.quantity,
            self.best_available,
            self.accessible,
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """An ask with its place in line. Travels as JSON; a newer field must have a default, for rolling deploys."""

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
    fingerprint: str = ""
    reply_to: str = ""  # the web process that waits for the outcome, if one does

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
    ) -> HoldRequest:
        asked = {field.name: getattr(ask, field.name) for field in dataclasses.fields(Ask)}
        return cls(
            **asked,
            id=reservation,
            buyer=buyer,
            arrival=arrival,
            accepted_at=accepted_at,
            fingerprint=ask.fingerprint(),
            reply_to=reply_to,
        )

    @property
    def places(self) -> int:
        return len(self.seats) or self.quantity

    def to_json(self) -> dict[str, Any]:
        return {
            name: _plain(value)
            for name in self.__slots__
            if (value := getattr(self, name)) not in (None, (), "", False)
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> HoldRequest:
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in said.items() if name in known}
        for name in ("id", "session", "buyer", "ticket_type"):
            if name in values:
                values[name] = uuid.UUID(values[name])
        values["accepted_at"] = dt.datetime.fromisoformat(values["accepted_at"])
        values["seats"] = tuple(values.get("seats", ()))
        return cls(**values)


def _plain(value: Any) -> Any:
    match value:
        case uuid.UUID():
            return str(value)
        case dt.datetime():
            return value.isoformat()
        case tuple():
            return list(value)
        case _:
            return value
