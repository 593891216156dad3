"""Sequence arrivals in Redis, and turn away requests that would lose before they cost anything.

A claim filters; it never decides. If Redis is flushed, sales stay right, only slower: PostgreSQL decides in
`reservations/allocation/`.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import redis
from django_redis import get_redis_connection
from django_redis.exceptions import ConnectionInterrupted

from base.breaker import Breaker, BreakerOpen
from base.rates.token_bucket import LUA
from reservations.claims.arguments import AdmitArguments, AdmitKeys, RenumberArguments, RenumberKeys
from reservations.claims.keys import (
    arrivals_key,
    asked_by_key,
    cap_keys,
    claim_key,
    idem_key,
    key,
    mine_key,
    person_key,
    stock_keys,
)
from reservations.hold_request import HoldRequest

LEASE_MS = 10_000  # how long a key's request may go without an answer before the same key may send it again
SOLD_MS = 6 * 3600 * 1000  # a sold seat's claim spares the queue; when it lapses PostgreSQL still refuses
PERSON_SECONDS = 86_400  # as long as keys are kept
LOST = (redis.RedisError, ConnectionInterrupted)  # one that is full or reads only is as good as away
FAILURES = (*LOST, BreakerOpen)


Draws = Mapping[uuid.UUID, Sequence[uuid.UUID]]  # by ticket type, the pools that each of its places takes one from
NOTHING: Draws = {}


class NoClaims(Exception):
    """Redis can't be asked now; PostgreSQL alone decides."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Redis's answer to one request; `kind` determines which fields are set."""

    kind: Literal[
        "admitted",
        "joined",
        "replay",
        "in_flight",
        "crowded",
        "mismatch",
        "limit",
        "wait",
        "taken",
        "lacking",
        "epoch",
    ]
    id: uuid.UUID | None = None  # the reservation's id; where a guest joined an account, the account's
    since: int = 0  # seconds since a guest joined
    arrival: int = 0
    conflicts: dict[str, str] = {}
    limit: int = 0  # the one that the request would exceed
    retry_ms: int = 0
    status: int = 0
    body: str = ""


class Limit(NamedTuple):
    """The limit of places for a buyer: of one ticket type (`of`), or of the whole session."""

    most: int
    of: uuid.UUID | None = None


class StockLevel(NamedTuple):
    """The number of unnumbered places of a ticket type or a pool left after a commit, and the version of that."""

    of: uuid.UUID
    version: int
    available: int


class Applicant(msgspec.Struct, kw_only=True):
    """One request at admission, before it has an arrival number.

    `levels` are the stock levels that it draws on, its ticket type's own first.
    """

    request: HoldRequest
    claim_ms: int
    limits: Sequence[Limit]
    levels: Sequence[StockLevel] = ()
    rate: int | None = None  # requests of its session that are admitted in a second
    lease_ms: int = LEASE_MS
    queue: str = ""  # the queue that it will join
    epoch: int = 0  # first arrival of a new epoch, when the counter was missing or belonged to another queue
    floor: int = 0  # arrivals below this one belong to an older epoch


@functools.cache
def client() -> redis.Redis:
    """Return the connection of Django's cache `claims`. It is kept, because getting it anew costs 15 µs each time."""
    held: redis.Redis = get_redis_connection("claims")
    return held


def _probe() -> None:
    """Check that Redis accepts writes, on a new connection: older ones may hang after the failure."""
    client().connection_pool.disconnect(inuse_connections=False)
    client().set(key("probe"), 1, px=1_000)


breaker = Breaker("redis", errors=LOST, probe=_probe)


@functools.cache
def script(name: str) -> Any:
    return client().register_script(LUA + (Path(__file__).parent / f"{name}.lua").read_text())


def admit(applicants: Sequence[Applicant]) -> list[Verdict]:
    """Ask for the batch in one pipelined trip; return verdicts in the order of the applicants. Raises: NoClaims."""
    try:
        with breaker:
            return _admit(applicants)
    except FAILURES as error:
        raise NoClaims from error


def _admit(applicants: Sequence[Applicant]) -> list[Verdict]:
    admit_script = script("admit")
    for attempt in (1, 2):
        pipe = client().pipeline(transaction=False)
        for applicant in applicants:
            keys, argv = _arguments(applicant)
            pipe.evalsha(admit_script.sha, len(keys), *keys, *argv)
        answers = pipe.execute(raise_on_error=False)
        if attempt == 1 and any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            client().script_load(admit_script.script)
            applicants_left = [
                applicant
                for applicant, answer in zip(applicants, answers, strict=True)
                if isinstance(answer, redis.exceptions.NoScriptError)
            ]
            if len(applicants_left) == len(applicants):
                continue
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [_verdict(applicant, answer) for applicant, answer in zip(applicants, answers, strict=True)]
    raise NoClaims("Redis keeps forgetting the script")


def _arguments(applicant: Applicant) -> tuple[list[str], list[str | int | bytes]]:
    request = applicant.request
    keys = [
        *AdmitKeys(
            arrivals=arrivals_key(request.session),
            idempotency=idem_key(request),
            stored=key("asked", request.id),
            recent=asked_by_key(request.buyer),
            person_key=person_key(request.buyer),
        ),
        *(mine_key(request.session, request.buyer, limit.of) for limit in applicant.limits),
        *(cap_keys(request.buyer, request.caps.origin, request.pot) if request.caps.buyer else ()),
        *(name for level in applicant.levels for name in stock_keys(request.session, level.of)),
        *(claim_key(request.session, seat) for seat in sorted(request.seats)),
    ]
    caps = [most for most in (request.caps.buyer, request.caps.address) if most]
    argv: list[str | int | bytes] = [
        *AdmitArguments(
            id=str(request.id),
            claim_ms=applicant.claim_ms,
            places=request.places,
            fingerprint=request.fingerprint,
            lease_ms=applicant.lease_ms if request.key else "",
            epoch=applicant.epoch or "",
            floor=applicant.floor,
            request=request.encoded(),
            queue=applicant.queue,
            rate=applicant.rate or "",
            limits=len(applicant.limits),
            caps=len(caps),
            levels=len(applicant.levels),
        ),
        *(limit.most for limit in applicant.limits),
        *caps,
        *(said for level in applicant.levels for said in (level.available, level.version)),
    ]
    return keys, argv


def _verdict(applicant: Applicant, answer: list[Any]) -> Verdict:
    match answer:
        case ["admitted", reservation, arrival]:
            return Verdict(kind="admitted", id=uuid.UUID(reservation), arrival=int(arrival))
        case ["joined", account, seconds_left]:
            return Verdict(kind="joined", id=uuid.UUID(account), since=PERSON_SECONDS - int(seconds_left))
        case ["replay", reservation, arrival, status, body]:
            return Verdict(
                kind="replay", id=uuid.UUID(reservation), arrival=int(arrival), status=int(status or 0), body=body
            )
        case ["in_flight" | "crowded" | "wait" as kind, retry_ms]:
            return Verdict(kind=kind, retry_ms=int(retry_ms))
        case ["limit", index]:
            return Verdict(kind="limit", limit=applicant.limits[int(index) - 1].most)
        case ["taken", *lost]:
            seats = sorted(applicant.request.seats)
            return Verdict(
                kind="taken",
                conflicts={seats[int(index) - 1]: reason for index, reason in zip(lost[::2], lost[1::2], strict=True)},
            )
        case ["mismatch" | "lacking" | "epoch" as kind]:
            return Verdict(kind=kind)
        case _:
            raise ValueError(f"admit.lua answered {answer!r}")


def renumbered(requests: Sequence[HoldRequest], *, queue: str) -> None:
    """Store the new numbers, of a new epoch, of admitted requests that moved to `queue`, and count on from there.

    Raises: NoClaims.
    """
    newest: dict[uuid.UUID, int] = {}
    for request in requests:
        newest[request.session] = max(request.arrival, newest.get(request.session, 0))
    try:
        with breaker:
            pipe = client().pipeline(transaction=False)
            for request in requests:
                script("renumber")(
                    keys=RenumberKeys(
                        arrivals=arrivals_key(request.session),
                        stored=key("asked", request.id),
                        idempotency=idem_key(request),
                    ),
                    args=RenumberArguments(
                        id=str(request.id),
                        arrival=request.arrival,
                        last_of_batch=newest[request.session],
                        queue=queue,
                        request=request.encoded(),
                    ),
                    client=pipe,
                )
            pipe.execute()
    except FAILURES as error:
        raise NoClaims from error


def answer_given(requests: Iterable[tuple[HoldRequest, int, str]]) -> None:
    """Store the answer (status and body) of each keyed request, so that the same key gets it again.

    Raises: NoClaims.
    """
    keyed = [(request, status, body) for request, status, body in requests if request.key]
    if not keyed:
        return
    try:
        with breaker:
            pipe = client().pipeline(transaction=False)
            for request, status, body in keyed:
                pipe.hset(
                    idem_key(request),
                    mapping={
                        "id": str(request.id),
                        "fingerprint": request.fingerprint,
                        "arrival": request.arrival,
                        "answered": 1,
                        "status": status,
                        "body": body,
                    },
                )
                pipe.expire(idem_key(request), 86_400)
            pipe.execute()
    except FAILURES as error:
        raise NoClaims from error


def remembers_since() -> float:
    """Return since when (POSIX seconds, by Redis's clock) Redis has forgotten nothing.

    A flushed or new Redis begins with the first call. Raises: NoClaims.
    """
    try:
        with breaker:
            seconds, _micros = client().time()
            pipe = client().pipeline(transaction=False)
            pipe.set(key("remembers-since"), seconds, nx=True)
            pipe.get(key("remembers-since"))
            return float(pipe.execute()[1])
    except FAILURES as error:
        raise NoClaims from error


def asked(reservation: uuid.UUID) -> HoldRequest | None:
    """Return the request as it was accepted, until it is allocated. Raises: NoClaims."""
    try:
        with breaker:
            found = client().get(key("asked", reservation))
    except FAILURES as error:
        raise NoClaims from error
    return _as_asked(found) if isinstance(found, str) else None


def asked_by(buyer: uuid.UUID) -> list[HoldRequest]:
    """Return the buyer's requests of the last ten minutes, at most fifty, allocated or not. Raises: NoClaims."""
    try:
        with breaker:
            return _asked_by(buyer)
    except FAILURES as error:
        raise NoClaims from error


def _asked_by(buyer: uuid.UUID) -> list[HoldRequest]:
    ids: Any = client().zrange(asked_by_key(buyer), 0, -1)
    found: Any = client().mget([key("asked", name) for name in ids]) if ids else []
    return [_as_asked(said) for said in found if said]


def _as_asked(found: str) -> HoldRequest:
    arrival, said = found.split(" ", 1)
    return HoldRequest.from_json({**json.loads(said), "arrival": int(arrival)})


# --- People

Counted = Collection[tuple[uuid.UUID, uuid.UUID | None]]  # sessions, and the types of unnumbered places
