"""Tell Redis the outcomes of requests: claims are renewed, given back or kept for sold seats."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
from django.conf import settings

from reservations import hold_caps
from reservations.claims.arguments import Left, Owned
from reservations.claims.claims import FAILURES, NOTHING, SOLD_MS, Draws, NoClaims, StockLevel, breaker, client, script
from reservations.claims.keys import (
    cap_keys,
    claim_key,
    idem_key,
    key,
    mine_key,
    stock_keys,
)
from reservations.hold_request import HoldRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The seats or stock that a reservation owns after a commit.

    - `milliseconds` is how much longer it owns that; 0: it owns nothing any more; None: it is sold, for good.
    - `counts` is how much longer it counts as held, for its address at least.
    - `in_vain` is how long it was held and not paid for; -1: it was paid for.
    """

    reservation: uuid.UUID
    session: uuid.UUID
    buyer: uuid.UUID
    seats: Sequence[str]
    places: int
    ticket_type: uuid.UUID | None
    milliseconds: int | None
    origin: str = ""
    counts: int = 0
    counts_for_buyer: bool = True
    in_vain: int = 0

    @property
    def caps(self) -> list[str]:
        """Return the keys of Note [What counts as held]."""
        pot = self.ticket_type if self.ticket_type and not self.seats else self.session
        return cap_keys(self.buyer, self.origin, pot) if settings.RATE_LIMITS else []

    def levels(self, draws: Draws) -> list[uuid.UUID]:
        """Return what its unnumbered places draw on: its ticket type's own stock first, then the pools."""
        if self.ticket_type is None or self.seats:
            return []
        return [self.ticket_type, *draws.get(self.ticket_type, ())]

    @classmethod
    def of_nothing(cls, request: HoldRequest) -> Standing:
        return cls(
            reservation=request.id,
            session=request.session,
            buyer=request.buyer,
            seats=request.seats,
            places=request.places,
            ticket_type=request.ticket_type,
            milliseconds=0,
            origin=request.caps.origin,
        )


class Told(NamedTuple):
    """A stock level of a session that changed."""

    session: uuid.UUID
    level: StockLevel


def upkeep(standings: Sequence[Standing], told: Collection[Told] = (), *, draws: Draws = NOTHING) -> None:
    """Bring Redis to what PostgreSQL committed; a flushed Redis heals here.

    `draws` has the pools of each ticket type. Raises: NoClaims.
    """
    if not standings and not told:
        return
    try:
        with breaker:
            _upkeep(standings, told, draws)
    except FAILURES as error:
        raise NoClaims from error


def _upkeep(standings: Sequence[Standing], told: Collection[Told], draws: Draws) -> None:
    keys: list[str] = []
    said = []
    for standing in standings:
        identity = str(standing.reservation)
        levels = standing.levels(draws)
        limits = [None, *levels[:1]]
        keys.extend(claim_key(standing.session, seat) for seat in standing.seats)
        keys.extend(mine_key(standing.session, standing.buyer, of) for of in limits)
        caps = standing.caps
        keys.extend(caps)
        for level in levels:
            keys.extend(stock_keys(standing.session, level))
        said.append(
            Owned(
                id=identity,
                claims=len(standing.seats),
                member=f"{identity}:{standing.places}",
                value=f"s:{identity}" if standing.milliseconds is None else identity,
                ms=SOLD_MS if standing.milliseconds is None else standing.milliseconds,
                limits=len(limits),
                levels=len(levels),
                caps=len(caps) // 2,
                counts=(standing.counts if standing.counts_for_buyer else 0, standing.counts),
                in_vain=standing.in_vain,
            )
        )
    keys.extend(stock_keys(session, level.of)[0] for session, level in told)
    left = [Left(version=level.version, available=level.available) for _session, level in told]
    script("upkeep")(keys=keys, args=[*map(msgspec.json.encode, (said, left, hold_caps.waiting_rules()))])


def give_back(requests: Sequence[HoldRequest], *, draws: Draws = NOTHING) -> None:
    """Free the claims of requests that weren't accepted, and let their buyers send the same keys anew.

    Raises: NoClaims.
    """
    upkeep([Standing.of_nothing(request) for request in requests], draws=draws)
    try:
        with breaker:
            client().delete(
                *(key("asked", request.id) for request in requests),
                *(idem_key(request) for request in requests if request.key),
            )
    except FAILURES as error:
        raise NoClaims from error
