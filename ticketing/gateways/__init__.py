"""Ways to take money. Authorise first; capture only what was sold; void what wasn't.

Each attempt has an id, the gateway's idempotency key: asking twice charges once.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Literal, Protocol

State = Literal["unknown", "declined", "authorised", "captured", "voided"]


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How an attempt stands at the gateway. `reason`: why it was declined."""

    state: State
    reason: str = ""


class GatewayTimeout(Exception):
    """No answer in time; the attempt may or may not stand. Ask with `find`."""


class Gateway(Protocol):
    def authorise(self, *, attempt: uuid.UUID, amount: int, currency: str, token: str) -> Standing:
        """Reserve `amount` minor units. Raises: GatewayTimeout."""

    def find(self, *, attempt: uuid.UUID) -> Standing:
        """How it stands; `unknown` if the gateway never heard of it. Raises: GatewayTimeout."""

    def capture(self, *, attempt: uuid.UUID) -> Standing:
        """Take what was authorised. Raises: GatewayTimeout."""

    def void(self, *, attempt: uuid.UUID) -> Standing:
        """Let go of what was authorised; an attempt that comes later is refused too. Raises: GatewayTimeout."""
