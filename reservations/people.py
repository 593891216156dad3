"""Remember which guest became which account.

Note [One person, two names]
A row of `JoinedGuest` says which account a guest became, for good. Requests of that guest may still arrive: from
RabbitMQ, from the inbox, or from a web process that read the guest's cookie a moment ago. Allocation looks the row up
and writes the account instead. Redis knows the same (`claims.join`), so that admission counts the account's places and
finds the guest's keys. If Redis forgot, the request takes the way through the queue, but is never sold twice:
allocation finds the key again.

Note [The lock of a person]
Allocation reads which account a guest has become, then inserts a reservation. Joining writes the row, then moves the
reservations it sees. Without a lock each could miss the other's work. So allocation takes a shared advisory lock for
each buyer of its batch before it locks the sessions. Joining takes the guest's lock for itself alone, before it locks
the sessions in which the guest has anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models.functions import Now

from base.rows import execute
from reservations.models import JoinedGuest

ON_THEIR_WAY = dt.timedelta(days=1)


def lock_alone(person: UUID) -> None:
    """Keep every other transaction from writing for this buyer until the commit. See Note [The lock of a person]."""
    execute("SELECT pg_advisory_xact_lock(%s)", *lock_numbers([person]))


def lock_shared(people: Iterable[UUID]) -> None:
    """Keep these guests from becoming accounts until the commit."""
    execute("SELECT pg_advisory_xact_lock_shared(person) FROM unnest(%s::bigint[]) AS person", lock_numbers(people))


def lock_numbers(people: Iterable[UUID]) -> list[int]:
    """Return the numbers of their advisory locks, in the order in which all transactions take them."""
    return sorted({int.from_bytes(person.bytes[8:], "big", signed=True) for person in people})


def account_of(buyer: UUID) -> UUID:
    """Return the account that this guest became; return any other buyer unchanged."""
    return accounts_of([buyer]).get(buyer, buyer)


def accounts_of(buyers: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the accounts by guest, for the guests who became one."""
    return dict(JoinedGuest.objects.filter(guest__in=buyers).values_list("guest", "account"))


def is_same(one: UUID, other: UUID) -> bool:
    """Tell whether both are names of one person: equal, or a guest and the account it became."""
    if one == other:
        return True
    accounts = accounts_of([one, other])
    return accounts.get(one, one) == accounts.get(other, other)


def names_of(account: UUID) -> list[UUID]:
    """Return the account, and the guests who became it of late, whose requests may still be on their way."""
    lately = JoinedGuest.objects.filter(account=account, joined_at__gt=Now() - ON_THEIR_WAY)
    return [account, *lately.values_list("guest", flat=True)]
