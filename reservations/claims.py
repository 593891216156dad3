"""The Redis side of holding: it sequences arrivals and turns losers away before they cost anything.

A claim filters; it never decides. Flush Redis and sales stay right (PostgreSQL decides in `allocation.py`), only slower.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import redis
from django.conf import settings

from reservations.breaker import Breaker, BreakerOpen
from reservations.hold_request import HoldRequest

LEASE_MS = 10_000  # how long a key's request may go without an answer before the same key may send it again
SOLD_MS = 6 * 3600 * 1000  # a sold seat's claim spares the queue; when it lapses PostgreSQL still says no
FAILURES = (redis.ConnectionError, redis.TimeoutError, BreakerOpen)

breaker = Breaker("redis", errors=(redis.ConnectionError, redis.TimeoutError))


class NoClaims(Exception):
    """Redis can't be asked now; PostgreSQL alone decides."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis said of one request; which fields are set depends on `kind`."""

    kind: Literal["admitted", "replay", "in_flight", "mismatch", "limit", "taken", "sold_out", "epoch"]
    id: uuid.UUID | None = None
    arrival: int = 0
    conflicts: dict[str, str] = {}
    held: int = 0
    retry_ms: int = 0
    status: int = 0
    body: str = ""


class Knock(msgspec.Struct, kw_only=True):
    """One request at the door, before it has an arrival number."""

    request: HoldRequest
    claim_ms: int
    max_per_buyer: int
    stock: tuple[int, int] | None = None  # as PostgreSQL last said, and the version of that
    lease_ms: int = LEASE_MS
    line: str = ""  # the one it is to stand in
    epoch: int = 0  # first arrival of a new epoch, when the counter was missing or belonged to another line
    floor: int = 0  # arrivals below this one belong to an older epoch


@functools.cache
def client() -> redis.Redis:
    seconds = settings.REDIS_TIMEOUT_MS / 1000
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        decode_responses=True,
        max_connections=256,
        health_check_interval=0,
    )


@functools.cache
def script(name: str) -> Any:
    return client().register_script((Path(__file__).parent / f"{name}.lua").read_text())


PREFIX = settings.KEY_PREFIX


def key(kind: str, *parts: object) -> str:
    """Keys of one session share a hash tag, for Redis Cluster."""
    return f"{PREFIX}:{kind}:" + ":".join(map(str, parts))


def claim_key(session: uuid.UUID, seat: str) -> str:
    return f"{PREFIX}:claim:{{{session}}}:{seat}"


def _arrivals_key(session: uuid.UUID) -> str:
    return key("arrivals", f"{{{session}}}")


def _mine_key(session: uuid.UUID, buyer: uuid.UUID) -> str:
    return f"{PREFIX}:mine:{{{session}}}:{buyer}"


def _asked_by_key(buyer: uuid.UUID) -> str:
    return key("asked-by", buyer)


def _idem_key(request: HoldRequest) -> str:
    return f"{PREFIX}:idem:{request.buyer}:{request.scope}:{request.key}"


def stock_keys(session: uuid.UUID, ticket_type: uuid.UUID | None) -> list[str]:
    """Of the stock, of those in line for it, and of those who hold some."""
    return [f"{PREFIX}:{kind}:{{{session}}}:{ticket_type}" for kind in ("stock", "in-line", "holders")]


def admit(knocks: Sequence[Knock]) -> list[Verdict]:
    """One pipelined trip for the batch; verdicts in the order of the knocks.

    Raises: NoClaims.
    """
    try:
        with breaker:
            return _admit(knocks)
    except FAILURES as error:
        raise NoClaims from error


def _admit(knocks: Sequence[Knock]) -> list[Verdict]:
    admit_script = script("admit")
    for attempt in (1, 2):
        pipe = client().pipeline(transaction=False)
        for knock in knocks:
            keys, argv = _arguments(knock)
            pipe.evalsha(admit_script.sha, len(keys), *keys, *argv)
        answers = pipe.execute(raise_on_error=False)
        if attempt == 1 and any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            client().script_load(admit_script.script)
            knocks_left = [
                knock
                for knock, answer in zip(knocks, answers, strict=True)
                if isinstance(answer, redis.exceptions.NoScriptError)
            ]
            if len(knocks_left) == len(knocks):
                continue
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [_verdict(knock, answer) for knock, answer in zip(knocks, answers, strict=True)]
    raise NoClaims("Redis keeps forgetting the script")


def _arguments(knock: Knock) -> tuple[list[str], list[str | int | bytes]]:
    request = knock.request
    keys = [
        _arrivals_key(request.session),
        _mine_key(request.session, request.buyer),
        _idem_key(request),
        *stock_keys(request.session, request.ticket_type),
        key("asked", request.id),
        _asked_by_key(request.buyer),
        *(claim_key(request.session, seat) for seat in sorted(request.seats)),
    ]
    argv: list[str | int | bytes] = [
        str(request.id),
        knock.claim_ms,
        request.places,
        knock.max_per_buyer,
        request.fingerprint,
        knock.lease_ms if request.key else "",
        *(knock.stock or ("", "")),
        knock.epoch or "",
        knock.floor,
        request.encoded(),
        knock.line,
    ]
    return keys, argv


def _verdict(knock: Knock, answer: list[Any]) -> Verdict:
    match answer:
        case ["admitted", reservation, arrival]:
            return Verdict(kind="admitted", id=uuid.UUID(reservation), arrival=int(arrival))
        case ["replay", reservation, arrival, status, body]:
            return Verdict(
                kind="replay", id=uuid.UUID(reservation), arrival=int(arrival), status=int(status or 0), body=body
            )
        case ["in_flight", retry_ms]:
            return Verdict(kind="in_flight", retry_ms=int(retry_ms))
        case ["limit", held]:
            return Verdict(kind="limit", held=int(held))
        case ["taken", *lost]:
            seats = sorted(knock.request.seats)
            return Verdict(
                kind="taken",
                conflicts={seats[int(index) - 1]: reason for index, reason in zip(lost[::2], lost[1::2], strict=True)},
            )
        case ["mismatch" | "sold_out" | "epoch" as kind]:
            return Verdict(kind=kind)
        case _:
            raise ValueError(f"admit.lua answered {answer!r}")


def renumbered(requests: Sequence[HoldRequest], *, line: str) -> None:
    """Admitted requests got other numbers, of a new epoch, and stand in `line`: remember them so, and count on from there.

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
                    keys=[_arrivals_key(request.session), key("asked", request.id), _idem_key(request)],
                    args=[
                        str(request.id),
                        request.arrival,
                        newest[request.session],
                        line,
                        request.encoded(),
                    ],
                    client=pipe,
                )
            pipe.execute()
    except FAILURES as error:
        raise NoClaims from error


def answer_given(requests: Iterable[tuple[HoldRequest, int, str]]) -> None:
    """Note for each keyed request (with status and body) that it has its answer: the same key now gets that again.

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
                    _idem_key(request),
                    mapping={
                        "id": str(request.id),
                        "fingerprint": request.fingerprint,
                        "arrival": request.arrival,
                        "answered": 1,
                        "status": status,
                        "body": body,
                    },
                )
                pipe.expire(_idem_key(request), 86_400)
            pipe.execute()
    except FAILURES as error:
        raise NoClaims from error


def give_back(requests: Sequence[HoldRequest]) -> None:
    """Nothing was accepted: free what these requests claimed, and let their buyers send the same keys anew.

    Raises: NoClaims.
    """
    upkeep([Standing.of_nothing(request) for request in requests])
    try:
        with breaker:
            client().delete(
                *(key("asked", request.id) for request in requests),
                *(_idem_key(request) for request in requests if request.key),
            )
    except FAILURES as error:
        raise NoClaims from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a reservation owns after a commit. `milliseconds`: how long still; 0: nothing any more; None: for good, sold."""

    reservation: uuid.UUID
    session: uuid.UUID
    buyer: uuid.UUID
    seats: Sequence[str]
    places: int
    ticket_type: uuid.UUID | None
    milliseconds: int | None

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
        )


class Stock(NamedTuple):
    """How many unnumbered places of a type are left after a commit, and the version of that."""

    session: uuid.UUID
    ticket_type: uuid.UUID
    version: int
    available: int


def upkeep(standings: Sequence[Standing], stocks: Collection[Stock] = ()) -> None:
    """Bring Redis to what PostgreSQL committed; a flushed Redis heals here by itself.

    Raises: NoClaims.
    """
    if not standings and not stocks:
        return
    try:
        with breaker:
            _upkeep(standings, stocks)
    except FAILURES as error:
        raise NoClaims from error


def _upkeep(standings: Sequence[Standing], stocks: Collection[Stock]) -> None:
    keys: list[str] = []
    said = []
    for standing in standings:
        keys.extend(claim_key(standing.session, seat) for seat in standing.seats)
        keys.append(_mine_key(standing.session, standing.buyer))
        identity = str(standing.reservation)
        value = f"s:{identity}" if standing.milliseconds is None else identity
        milliseconds = SOLD_MS if standing.milliseconds is None else standing.milliseconds
        waits = standing.ticket_type is not None and not standing.seats
        if waits:
            keys.extend(stock_keys(standing.session, standing.ticket_type))
        said.append([identity, len(standing.seats), f"{identity}:{standing.places}", value, milliseconds, waits])
    keys.extend(stock_keys(stock.session, stock.ticket_type)[0] for stock in stocks)
    left = [[stock.version, stock.available] for stock in stocks]
    script("upkeep")(keys=keys, args=[msgspec.json.encode(said), msgspec.json.encode(left)])


def remembers_since() -> float:
    """From when on (POSIX seconds, by Redis's clock) nothing was forgotten: a flushed or new Redis begins with the first call.

    Raises: NoClaims.
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
    """The request as it was accepted, while nobody settled it. Raises: NoClaims."""
    try:
        with breaker:
            found = client().get(key("asked", reservation))
    except FAILURES as error:
        raise NoClaims from error
    return _as_asked(found) if isinstance(found, str) else None


def asked_by(buyer: uuid.UUID) -> list[HoldRequest]:
    """What the buyer asked for in the last ten minutes, at most fifty of it, settled or not. Raises: NoClaims."""
    try:
        with breaker:
            ids: Any = client().zrange(_asked_by_key(buyer), 0, -1)
            found: Any = client().mget([key("asked", name) for name in ids]) if ids else []
    except FAILURES as error:
        raise NoClaims from error
    return [_as_asked(said) for said in found if said]


def _as_asked(found: str) -> HoldRequest:
    arrival, said = found.split(" ", 1)
    return HoldRequest.from_json({**json.loads(said), "arrival": int(arrival)})
