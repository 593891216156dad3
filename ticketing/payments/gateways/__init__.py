"""Define ways to take money. Authorise first, capture only what was sold, void the rest.

`registry` lists them. Each attempt has an id, which is the gateway's idempotency key: two requests charge once.
A refund has its own.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import importlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Literal, Protocol, cast

from django.conf import settings

from base.breaker import Breaker
from ticketing.payments.gateways import registry
from ticketing.refusals import UnknownMethod

State = Literal["unknown", "pending", "declined", "authorised", "captured", "voided"]
DEADLINE_SECONDS = 5.0  # for one request


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Describe an attempt to the gateway; `reference` is the gateway's own name for it, once it is known."""

    id: uuid.UUID
    amount: int  # minor units
    currency: str
    token: str
    reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """Describe the state of an attempt at the gateway.

    `reason` explains a decline; `fee` is what it keeps of a capture.
    """

    state: State
    reason: str = ""
    reference: str = ""
    fee: int = 0

    @property
    def has_money(self) -> bool:
        return self.state in {"authorised", "captured"}


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """Hold a genuine webhook of the gateway. `attempt` is None if it concerns none of ours."""

    event: str
    kind: str
    attempt: uuid.UUID | None


class GatewayTimeout(Exception):
    """Report that no answer came in time. The attempt may be valid or not; ask with `find`."""


class GatewayUnavailable(Exception):
    """Report that the gateway refused before it did anything."""


class RefundRefused(Exception):
    """Report that the gateway cannot pay this back; a person must."""


class Gateway(Protocol):
    def check(self, token: str) -> None:
        """Check the form of a token. Raises: UnknownToken."""

    def authorise(self, attempt: Attempt) -> Standing:
        """Reserve the money. Raises: GatewayTimeout, GatewayUnavailable."""

    def find(self, attempt: Attempt) -> Standing:
        """Return its state; `unknown` if the gateway does not know it. Raises: GatewayTimeout, GatewayUnavailable."""

    def capture(self, attempt: Attempt) -> Standing:
        """Capture what was authorised. Raises: GatewayTimeout, GatewayUnavailable."""

    def void(self, attempt: Attempt) -> Standing:
        """Void an authorisation; the gateway then also refuses an attempt that comes later.

        Raises: GatewayTimeout, GatewayUnavailable.
        """

    def refund(self, attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
        """Refund some of what was captured. Raises: RefundRefused, GatewayTimeout, GatewayUnavailable."""

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice:
        """Read a webhook. Raises: UnsignedWebhook."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Hold a gateway's own record of one charge.

    `attempt` is None if it is not ours; `kept` is captured minus refunded.
    """

    reference: str
    attempt: uuid.UUID | None
    kept: int


class KeepsBooks(Protocol):
    """Give access to a gateway's own records, to compare ours with. This is optional."""

    def recent_records(self, *, since: dt.datetime, most: int) -> Iterator[Record]:
        """Yield the newest charges since then. Raises: GatewayTimeout, GatewayUnavailable."""

    def record_of(self, reference: str) -> Record | None:
        """Return the record of a charge; None if there is none. Raises: GatewayTimeout, GatewayUnavailable."""


class SeveralAtOnce(Protocol):
    """Answer the plain attempts of a crowd in one request, in their order. This is optional."""

    def is_plain(self, attempt: Attempt) -> bool:
        """Tell whether the attempt can be asked about together with others."""

    def authorise_all(self, attempts: Sequence[Attempt]) -> list[Standing]:
        """Authorise each of them. Raises: GatewayTimeout, GatewayUnavailable."""

    def capture_all(self, attempts: Sequence[Attempt]) -> list[Standing]:
        """Capture each of them. Raises: GatewayTimeout, GatewayUnavailable."""


def chosen(method: str) -> Gateway:
    """Return a gateway that the house offers for new payments. Raises: UnknownMethod."""
    if method not in settings.PAYMENT_METHODS:
        raise UnknownMethod(method)
    return of(method)


def at_the_counter(method: str) -> Gateway:
    """Return a gateway of the counter. Raises: UnknownMethod."""
    if not registry.is_of_place(method, "counter"):
        raise UnknownMethod(method)
    return of(method)


def of(method: str) -> Gateway:
    """Return the module of a gateway. It is imported on first use, because SDKs are extras, and big.

    Raises: UnknownMethod, also if its SDK is not installed.
    """
    entry = registry.METHODS.get(method)
    if entry is None:
        raise UnknownMethod(method)
    try:
        return cast(Gateway, module_of(entry.module or f"ticketing.payments.gateways.{method}"))
    except ModuleNotFoundError as error:
        if not entry.sdk or error.name != entry.sdk:
            raise
        raise UnknownMethod(method) from error


@functools.cache
def module_of(name: str) -> ModuleType:
    return importlib.import_module(name)


def several_at_once(method: str) -> SeveralAtOnce | None:
    """Return the gateway if it answers several attempts at once, otherwise None. Raises: UnknownMethod."""
    gateway: object = of(method)
    return cast(SeveralAtOnce, gateway) if hasattr(gateway, "authorise_all") else None


@functools.cache
def breaker_of(method: str) -> Breaker:
    """Return the gateway's breaker.

    One slow card means nothing; five silences in a row mean that the gateway is away.
    """
    return Breaker(f"gateway.{method}", errors=(GatewayTimeout, GatewayUnavailable), failures=5)
