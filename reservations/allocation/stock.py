"""Take and give back unnumbered places of locked sessions.

Note [What a place draws on]
A place takes one from its ticket type's own stock and one from each of the type's pools, or nothing at all. A place
that comes back goes back to all of them. So the least that any of them has left is what the type has left, and it
changes when another type of the same pool sells.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Mapping

from reservations.allocation.announcements import Announcements
from reservations.allocation.statements import Draws
from sessions_app.models import Pool, TicketType


@dataclasses.dataclass(eq=False)
class FewerThanTaken(Exception):
    """A ticket type or pool, `name`, can't have fewer places than are held or sold (`taken`)."""

    name: str
    taken: int


@dataclasses.dataclass(slots=True)
class Stock:
    """The stock of locked sessions. See Note [What a place draws on].

    `types` are all types of the sessions, also those that price seats; `draws` knows only those with a stock.
    """

    types: Mapping[uuid.UUID, TicketType]
    pools: Mapping[uuid.UUID, Pool]
    draws: Draws  # only `redraw` changes it
    _changed: set[uuid.UUID] = dataclasses.field(default_factory=set)

    def of(self, kind: uuid.UUID | None) -> TicketType | None:
        """Return the type, if it is one of unnumbered places."""
        return self.types[kind] if kind in self.draws else None

    def left(self, kind: TicketType) -> int:
        assert kind.available is not None
        return min([kind.available, *(pool.available for pool in self._pools_of(kind))])

    def take(self, kind: TicketType, places: int) -> bool:
        """Take the places if that many are left; return whether they were."""
        if self.left(kind) < places:
            return False
        self._add(kind, -places)
        return True

    def give_back(self, kind: uuid.UUID, places: int) -> None:
        self._add(self.types[kind], places)

    def resize(self, row: TicketType | Pool, capacity: int) -> None:
        """Give a ticket type or a pool this capacity. Raises: FewerThanTaken."""
        assert row.capacity is not None
        assert row.available is not None
        taken = row.capacity - row.available
        if capacity < taken:
            raise FewerThanTaken(row.name, taken)
        row.capacity, row.available = capacity, capacity - taken
        if isinstance(row, Pool):
            row.version += 1
        else:
            row.stock_version += 1
        self._changed.add(row.pk)

    def redraw(self, kind: TicketType, pools: Collection[uuid.UUID]) -> None:
        """Take the type's sold and held places from these pools from now on. Raises: FewerThanTaken."""
        assert kind.capacity is not None
        assert kind.available is not None
        taken, before = kind.capacity - kind.available, set(self.draws[kind.pk])
        for identity in before ^ set(pools):
            pool = self.pools[identity]
            pool.available += taken if identity in before else -taken
            if pool.available < 0:
                raise FewerThanTaken(pool.name, pool.capacity - pool.available)
            pool.version += 1
            self._changed.add(identity)
        self.draws[kind.pk] = tuple(sorted(pools))
        self._changed.add(kind.pk)

    def _add(self, kind: TicketType, places: int) -> None:
        assert kind.available is not None
        kind.available += places
        kind.stock_version += 1
        for pool in self._pools_of(kind):
            pool.available += places
            pool.version += 1
            self._changed.add(pool.pk)
        self._changed.add(kind.pk)

    def _pools_of(self, kind: TicketType) -> list[Pool]:
        return [self.pools[pool] for pool in self.draws[kind.pk]]

    def write(self, news: Announcements) -> None:
        """Write the stock that changed, and announce each type whose number of places left changes with it."""
        news.draws.update(self.draws)
        if not self._changed:
            return
        types = [self.types[kind] for kind in self.draws if kind in self._changed]
        pools = [pool for pool in self.pools.values() if pool.pk in self._changed]
        TicketType.objects.bulk_update(types, ["available", "stock_version"])
        Pool.objects.bulk_update(pools, ["available", "version"])
        for kind in types:
            assert kind.available is not None
            news.stock_level(kind.session_id, kind.pk, version=kind.stock_version, available=kind.available)
        for pool in pools:
            news.stock_level(pool.session_id, pool.pk, version=pool.version, available=pool.available)
        for identity, drawn in self.draws.items():
            if not self._changed.isdisjoint([identity, *drawn]):
                news.left(self.types[identity], self.left(self.types[identity]))
