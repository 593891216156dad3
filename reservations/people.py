"""Which guest became which account.

Note [One person, two names]
A row of `JoinedGuest` says which account a guest became, for good. Requests of that guest may still arrive: from RabbitMQ, from the inbox,
from a web process that read the guest's cookie a moment ago. Allocation looks the row up and writes the account instead. Redis knows the
same (`claims.join`), so that the door counts the account's places and finds the guest's keys. A Redis that forgot costs a request its way
through the queue, never a second sale: allocation finds the key again.

Note [The lock of a person]
Allocation reads who a guest has become, then inserts a reservation. Joining writes the row, then moves the reservations it sees. Without a
lock each could miss the other's work. So allocation takes an advisory lock for each buyer of its batch, shared, before it locks the
sessions; joining takes the guest's for itself alone, before it locks the sessions that the guest has something in.
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
    """Until the commit nothing is written for this buyer. See Note [The lock of a person]."""
    execute("SELECT pg_advisory_xact_lock(%s)", *lock_numbers([person]))


def lock_shared(people: Iterable[UUID]) -> None:
    """Until the commit none of these guests becomes an account."""
    execute("SELECT pg_advisory_xact_lock_shared(person) FROM unnest(%s::bigint[]) AS person", lock_numbers(people))


def lock_numbers(people: Iterable[UUID]) -> list[int]:
    """The numbers of their advisory locks, in the order in which all take them."""
    return sorted({int.from_bytes(person.bytes[8:], "big", signed=True) for person in people})


def account_of(buyer: UUID) -> UUID:
    """The account that this guest became; anybody else stays who it is."""
    return accounts_of([buyer]).get(buyer, buyer)


def accounts_of(buyers: Collection[UUID]) -> dict[UUID, UUID]:
    """By guest, of those who became an account."""
    return dict(JoinedGuest.objects.filter(guest__in=buyers).values_list("guest", "account"))


def is_same(one: UUID, other: UUID) -> bool:
    """Whether both are names of one person: equal, or a guest and the account it became."""
    if one == other:
        return True
    accounts = accounts_of([one, other])
    return accounts.get(one, one) == accounts.get(other, other)


def names_of(account: UUID) -> list[UUID]:
    """The account, and the guests who became it of late: those whose requests may still be on their way."""
    lately = JoinedGuest.objects.filter(account=account, joined_at__gt=Now() - ON_THEIR_WAY)
    return [account, *lately.values_list("guest", flat=True)]
