"""Places without a number, of sessions that are locked.

Note [What a place draws on]
A place takes one from its ticket type's own stock and one from each of the type's pools, or nothing at all, and gives back to all
of them. So what is left of a type is the least that any of them has left, and it changes when a neighbour in a pool sells.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping

from reservations.announcements import Announcements
from reservations.statements import Draws
from sessions_app.models import Pool, TicketType


@dataclasses.dataclass(slots=True)
class Stock:
    """See Note [What a place draws on]. `types` are all of the sessions', also those that price seats; `draws` knows only stocks."""

    types: Mapping[uuid.UUID, TicketType]
    pools: Mapping[uuid.UUID, Pool]
    draws: Draws
    _changed: set[uuid.UUID] = dataclasses.field(default_factory=set)

    def of(self, kind: uuid.UUID | None) -> TicketType | None:
        """The type, if it is one of unnumbered places."""
        return self.types[kind] if kind in self.draws else None

    def left(self, kind: TicketType) -> int:
        assert kind.available is not None
        return min([kind.available, *(pool.available for pool in self._pools_of(kind))])

    def take(self, kind: TicketType, places: int) -> bool:
        """Whether there were that many; else nothing is taken."""
        if self.left(kind) < places:
            return False
        self._add(kind, -places)
        return True

    def give_back(self, kind: uuid.UUID, places: int) -> None:
        self._add(self.types[kind], places)

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
        """What changed, and whose number of places left that changes."""
        news.draws.update(self.draws)
        if not self._changed:
            return
        types = [self.types[kind] for kind in self.draws if kind in self._changed]
        pools = [pool for pool in self.pools.values() if pool.pk in self._changed]
        TicketType.objects.bulk_update(types, ["available", "stock_version"])
        Pool.objects.bulk_update(pools, ["available", "version"])
        for kind in types:
            assert kind.available is not None
            news.counter(kind.session_id, kind.pk, version=kind.stock_version, available=kind.available)
        for pool in pools:
            news.counter(pool.session_id, pool.pk, version=pool.version, available=pool.available)
        for identity, drawn in self.draws.items():
            if not self._changed.isdisjoint([identity, *drawn]):
                news.left(self.types[identity], self.left(self.types[identity]))
