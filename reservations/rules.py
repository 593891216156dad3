"""Decide what a request may have by the rules of a sale, before any look at what is left.

These are pure functions over the few facts that each needs. Admission judges by a cached copy of the facts, allocation
and standby by locked rows. All of them call these functions, so the same request gets the same answer.
"""

from __future__ import annotations

import datetime as dt
from typing import Protocol

from base.refusals import Refused
from reservations.hold_request import AT_THE_DOOR, HOLD_SCOPE, ORDER_SCOPE, Means
from reservations.refusals import PaymentNeeded, SaleClosed, SaleNotOpen, SoldAtOnce, TooManySeats


class Window(Protocol):
    """A session or a ticket type that is sold for a time, or the facts that admission has of it."""

    def is_closed_at(self, now: dt.datetime) -> bool: ...
    def sells_at(self, now: dt.datetime) -> bool: ...


class OnSale(Window, Protocol):
    """A session on sale."""

    @property
    def max_per_buyer(self) -> int: ...


class Kind(Window, Protocol):
    """A ticket type of unnumbered places."""

    @property
    def is_free(self) -> bool: ...
    @property
    def holds(self) -> bool: ...
    @property
    def max_per_order(self) -> int | None: ...
    @property
    def max_per_buyer(self) -> int | None: ...


class Asked(Protocol):
    """A buyer's request, before or after it has its place in the queue."""

    @property
    def places(self) -> int: ...
    @property
    def scope(self) -> str: ...
    @property
    def payment(self) -> Means | None: ...


def not_on_sale(sale: Window, now: dt.datetime) -> type[SaleClosed] | type[SaleNotOpen] | None:
    """Return why the window of a session, or of a ticket type, is not open; None if it is."""
    if sale.is_closed_at(now):
        return SaleClosed
    return None if sale.sells_at(now) else SaleNotOpen


def most_in_one_order(sale: OnSale, kind: Kind | None) -> int:
    """Return how many places one request may ask for."""
    own = (kind.max_per_order, kind.max_per_buyer) if kind else ()
    return min([sale.max_per_buyer, *(most for most in own if most)])


def wrong_way(asked: Asked, kind: Kind, *, is_paid_at_door: bool) -> type[Refused] | None:
    """Return why places of this type aren't sold this way: some can't be held, only ordered with their payment."""
    if not kind.holds and asked.scope == HOLD_SCOPE:
        return SoldAtOnce
    costs_now = not kind.is_free and not is_paid_at_door
    if not kind.holds and asked.scope == ORDER_SCOPE and not asked.payment and costs_now:
        return PaymentNeeded
    if asked.payment and asked.payment.method == AT_THE_DOOR and not is_paid_at_door:
        return PaymentNeeded
    return None


def of_session(asked: Asked, sale: OnSale, now: dt.datetime) -> type[Refused] | None:
    """Return why the session's rules refuse the request, whatever its buyer already has."""
    if closed := not_on_sale(sale, now):
        return closed
    return TooManySeats if asked.places > sale.max_per_buyer else None


def of_kind(asked: Asked, sale: OnSale, kind: Kind, now: dt.datetime, *, is_paid_at_door: bool) -> type[Refused] | None:
    """Return why the ticket type's own rules refuse it; they may be narrower than the session's."""
    if closed := not_on_sale(kind, now):
        return closed
    if asked.places > most_in_one_order(sale, kind):
        return TooManySeats
    return wrong_way(asked, kind, is_paid_at_door=is_paid_at_door)


def limit_passed(
    places: int, *, has: int, most: int, has_of_kind: int = 0, most_of_kind: int | None = None
) -> int | None:
    """Return the limit that a buyer would exceed with this many places more; None: none.

    `has` is how many places of the session the buyer holds or bought, `has_of_kind` how many of the ticket type.
    """
    if has + places > most:
        return most
    if most_of_kind and has_of_kind + places > most_of_kind:
        return most_of_kind
    return None


def has_run_out(expires_at: dt.datetime | None, now: dt.datetime) -> bool:
    """Tell whether a hold is over at that instant, swept or not."""
    return expires_at is not None and expires_at <= now
