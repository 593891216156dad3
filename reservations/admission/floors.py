"""Remember below which arrival number a session's counter in Redis is stale, as far as one process knows."""

from __future__ import annotations

from uuid import UUID

from base.bounded import Bounded

MOST = 10_000  # sessions


class Floors(Bounded[UUID, int]):
    """The newest epoch that this process took, by session.

    A session that is pushed out stays safe: the highest floor that was pushed out counts for every session without one
    of its own. Such a session costs one more epoch, at its next request.
    """

    def __init__(self, most: int = MOST) -> None:
        super().__init__(most)
        self._of_the_others = 0

    def of(self, session: UUID) -> int:
        return self.get(session, self._of_the_others)

    def _forget(self, key: UUID, value: int) -> None:
        self._of_the_others = max(self._of_the_others, value)
