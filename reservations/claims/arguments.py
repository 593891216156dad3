"""Name the arguments of the Lua scripts: the fields here have the order of each script's header.

`tests/reservations/claims/test_arguments.py` compares the two.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class AdmitKeys(NamedTuple):
    """The first keys of admit.lua. After them come those of limits, caps, stock levels and seats."""

    arrivals: str
    idempotency: str
    stored: str
    recent: str
    person_key: str


class AdmitArguments(NamedTuple):
    """The first arguments of admit.lua. After them come the values of limits, caps and stock levels."""

    id: str
    claim_ms: int
    places: int
    fingerprint: str
    lease_ms: int | str
    epoch: int | str
    floor: int
    request: bytes
    queue: str
    rate: int | str
    limits: int
    caps: int
    levels: int


class RenumberKeys(NamedTuple):
    arrivals: str
    stored: str
    idempotency: str


class RenumberArguments(NamedTuple):
    id: str
    arrival: int
    last_of_batch: int
    queue: str
    request: bytes


class FollowKeys(NamedTuple):
    guest_held: str
    guest_tally: str
    account_held: str
    account_tally: str


class Owned(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The arguments of upkeep.lua for each reservation, with the numbers of its keys."""

    id: str
    claims: int
    member: str
    value: str
    ms: int
    limits: int
    levels: int
    caps: int
    counts: tuple[int, int]
    in_vain: int


class Left(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The arguments of upkeep.lua for each stock level that changed."""

    version: int
    available: int
