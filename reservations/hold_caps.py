"""Cap how many places one buyer, and the guests of one address, may hold without paying.

Note [What counts as held]
Places count from admission until they are paid for, given back or run out. Places that are paid at the door count until
the money is collected there. Free places, which are bought at once, count for their address until they are given back
or the session is over; for the buyer the session's own limit is enough. A buyer's places count in all sessions
together, whatever address they come from. An address's places count in each session (numbered seats) and each ticket
type (unnumbered places), for guests and for accounts that are younger than a week, since accounts are made as quickly
as guests are.

Places that an address let go unpaid go on counting for as long as they were held, so that holding again and again keeps
half of the limit at the most. They count longer with every `LAPSES_A_STEP` places that came to nothing since the
address last paid for something. A buyer who let `HOLDS_LAPSES` holds in a row end unpaid waits before the next one,
twice as long each time. Giving a hold back counts like letting it run out: otherwise a program would give back and hold
again for ever. A purchase clears both.

PostgreSQL counts the places under the session's lock when a request is allocated. Redis turns requests away at
admission that would be refused there, and alone keeps the waits, which it forgets an hour after the last such hold. A
flushed Redis learns of each hold again when the hold changes; until then PostgreSQL refuses. An address is kept as a
keyed hash, for as long as it counts. With `RATE_LIMITS=off` nothing is counted at all.
"""

from __future__ import annotations

import time
from functools import lru_cache
from uuid import UUID

import msgspec
from django.conf import settings
from django.utils.crypto import salted_hmac

from base.addresses import is_in, network_of

NEW_ACCOUNT_SECONDS = 7 * 86_400  # after an hour, an address could let two hundred of them ripen before a sale
FIRST_WAIT_MS = 15_000
LONGEST_COUNT_MS = 600_000  # how long places that were let go unpaid count, at first
LAPSES_A_STEP = 50
MOST_STEPS = 10
FORGET_MS = 3_600_000  # after the last lapse


class Caps(msgspec.Struct, frozen=True):
    """The caps of a request; 0 means any number.

    `buyer` is how many places the buyer may hold in all. `address` is how many the guests of `origin` may hold, which
    is the hash of their address.
    """

    buyer: int = 0
    origin: str = ""
    address: int = 0


NONE = Caps()


def caps_of(*, buyer: UUID, is_guest: bool, address: str, max_per_buyer: int, capacity: int) -> Caps:
    """Return the caps of a request; `capacity` is in seats of the session, or places of the ticket type."""
    if not settings.RATE_LIMITS:
        return NONE
    of_buyer = max(settings.HOLDS_BUYER, max_per_buyer)
    if not address or not (is_guest or _is_new(buyer)):
        return Caps(of_buyer)
    shared = is_in(address, settings.HOLDS_SHARED_NETWORKS)
    percent = max(settings.HOLDS_ADDRESS_PERCENT, settings.HOLDS_SHARED_PERCENT if shared else 0)
    return Caps(of_buyer, origin_of(address), max(settings.HOLDS_ADDRESS, capacity * percent // 100))


def _is_new(account: UUID) -> bool:
    """Tell by its UUIDv7 whether the account was made within the week (RFC 9562, 5.7: 48 bits of milliseconds)."""
    return account.version == 7 and time.time() - (account.int >> 80) / 1000 < NEW_ACCOUNT_SECONDS


@lru_cache(maxsize=10_000)
def origin_of(address: str) -> str:
    """Return a keyed hash of the address, for IPv6 of its /64."""
    return salted_hmac("reservations.hold_caps.origin", network_of(address)).hexdigest()[:24]


class WaitingRules(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The rules of waiting as upkeep.lua takes them: the order of the fields is that of its header."""

    free: int
    first_wait: int
    longest_wait: int
    longest_count: int
    a_step: int
    most_steps: int
    forget_after: int


def waiting_rules() -> WaitingRules:
    longest = settings.HOLDS_LONGEST_WAIT * 1000
    return WaitingRules(
        free=settings.HOLDS_LAPSES,
        first_wait=min(FIRST_WAIT_MS, longest),
        longest_wait=longest,
        longest_count=LONGEST_COUNT_MS,
        a_step=LAPSES_A_STEP,
        most_steps=MOST_STEPS,
        forget_after=FORGET_MS,
    )
