"""Ways to take money. Authorise first; capture only what was sold; void what wasn't.

Each attempt has an id, the gateway's idempotency key: asking twice charges once. A refund has its own.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import importlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, cast

from django.conf import settings

from base.breaker import Breaker
from ticketing.refusals import UnknownMethod

State = Literal["unknown", "pending", "declined", "authorised", "captured", "voided"]
DEADLINE_SECONDS = 5.0  # of one question


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Everything a gateway needs to know of one; `reference` is its own name for it, once it told us."""

    id: uuid.UUID
    amount: int  # minor units
    currency: str
    token: str
    reference: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How an attempt stands at the gateway. `reason`: why it was declined; `fee`: what the gateway keeps of a capture."""

    state: State
    reason: str = ""
    reference: str = ""
    fee: int = 0

    @property
    def has_money(self) -> bool:
        return self.state in {"authorised", "captured"}


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """A webhook that is really the gateway's. `attempt`: None where it concerns no attempt of ours."""

    event: str
    kind: str
    attempt: uuid.UUID | None


class GatewayTimeout(Exception):
    """No answer in time; the attempt may or may not stand. Ask with `find`."""


class GatewayUnavailable(Exception):
    """It turned us away before it did anything."""


class RefundRefused(Exception):
    """The gateway can't pay this back; a person must."""


class Gateway(Protocol):
    def check(self, token: str) -> None:
        """Raises: UnknownToken, for what can't be one."""

    def authorise(self, attempt: Attempt) -> Standing:
        """Reserve the money. Raises: GatewayTimeout, GatewayUnavailable."""

    def find(self, attempt: Attempt) -> Standing:
        """How it stands; `unknown` if the gateway never heard of it. Raises: GatewayTimeout, GatewayUnavailable."""

    def capture(self, attempt: Attempt) -> Standing:
        """Take what was authorised. Raises: GatewayTimeout, GatewayUnavailable."""

    def void(self, attempt: Attempt) -> Standing:
        """Let go of what was authorised; an attempt that comes later is refused too.

        Raises: GatewayTimeout, GatewayUnavailable.
        """

    def refund(self, attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
        """Pay back some of what was captured. Raises: RefundRefused, GatewayTimeout, GatewayUnavailable."""

    def read_notice(self, body: bytes, headers: Mapping[str, str]) -> Notice:
        """What a webhook says. Raises: UnsignedWebhook."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a gateway's own books say of one charge. `attempt`: None where it is none of ours; `kept`: taken and not paid back."""

    reference: str
    attempt: uuid.UUID | None
    kept: int


class KeepsBooks(Protocol):
    """What a gateway may offer besides: its own record, to hold ours against."""

    def recent_records(self, *, since: dt.datetime, most: int) -> Iterator[Record]:
        """The newest charges since then. Raises: GatewayTimeout, GatewayUnavailable."""

    def record_of(self, reference: str) -> Record | None:
        """None where the gateway knows of no such charge. Raises: GatewayTimeout, GatewayUnavailable."""


class SeveralAtOnce(Protocol):
    """What a gateway may offer besides: the plain attempts of a crowd in one question, answered in their order."""

    def is_plain(self, attempt: Attempt) -> bool:
        """It can be asked with others."""

    def authorise_all(self, attempts: Sequence[Attempt]) -> list[Standing]:
        """`authorise` for each of them. Raises: GatewayTimeout, GatewayUnavailable."""

    def capture_all(self, attempts: Sequence[Attempt]) -> list[Standing]:
        """`capture` for each of them. Raises: GatewayTimeout, GatewayUnavailable."""


METHODS = ("fake", "stripe", "cash", "card", "door")
AT_THE_COUNTER = ("cash", "card")  # what only staff may say was paid
BY_HAND = (*AT_THE_COUNTER, "door")  # what a person gives back
INTO_THE_TILL = ("cash", "door")


def chosen(method: str) -> Gateway:
    """One that the house takes new payments by. Raises: UnknownMethod."""
    if method not in settings.PAYMENT_METHODS:
        raise UnknownMethod(method)
    return of(method)


def at_the_counter(method: str) -> Gateway:
    """Raises: UnknownMethod."""
    if method not in AT_THE_COUNTER:
        raise UnknownMethod(method)
    return of(method)


@functools.cache
def of(method: str) -> Gateway:
    """Each is a module that speaks the protocol, imported when first asked for: SDKs are extras, and big.

    Raises: UnknownMethod; also where its SDK isn't installed.
    """
    if method not in METHODS:
        raise UnknownMethod(method)
    try:
        return cast(Gateway, importlib.import_module(f"ticketing.payments.gateways.{method}"))
    except ModuleNotFoundError as error:
        if error.name != method:
            raise
        raise UnknownMethod(method) from error


def several_at_once(method: str) -> SeveralAtOnce | None:
    """None where each attempt is a question of its own. Raises: UnknownMethod."""
    gateway: object = of(method)
    return cast(SeveralAtOnce, gateway) if hasattr(gateway, "authorise_all") else None


@functools.cache
def breaker_of(method: str) -> Breaker:
    """One slow card says nothing; five silences in a row say that nobody is there."""
    return Breaker(f"gateway.{method}", errors=(GatewayTimeout, GatewayUnavailable), failures=5)
