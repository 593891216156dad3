"""The Redis side of holding: it sequences arrivals and turns losers away before they cost anything.

A claim filters; it never decides. Flush Redis and sales stay right (PostgreSQL decides in `reservations/allocation/`), only slower.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import redis
from django.conf import settings
from django_redis import get_redis_connection
from django_redis.exceptions import ConnectionInterrupted

from base.breaker import Breaker, BreakerOpen
from reservations import hold_caps
from reservations.hold_request import HoldRequest

LEASE_MS = 10_000  # how long a key's request may go without an answer before the same key may send it again
SOLD_MS = 6 * 3600 * 1000  # a sold seat's claim spares the queue; when it lapses PostgreSQL still says no
PERSON_SECONDS = 86_400  # as long as keys are kept
LOST = (redis.RedisError, ConnectionInterrupted)  # one that is full or reads only is as good as away
FAILURES = (*LOST, BreakerOpen)


Draws = Mapping[uuid.UUID, Sequence[uuid.UUID]]  # by ticket type, the pools that each of its places takes one from
NOTHING: Draws = {}


class NoClaims(Exception):
    """Redis can't be asked now; PostgreSQL alone decides."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis said of one request; which fields are set depends on `kind`."""

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
    id: uuid.UUID | None = None  # the reservation's; where a guest joined an account, the account's
    since: int = 0  # seconds since a guest joined
    arrival: int = 0
    conflicts: dict[str, str] = {}
    limit: int = 0  # the one that it would exceed
    retry_ms: int = 0
    status: int = 0
    body: str = ""


class Limit(NamedTuple):
    """How many places a buyer may have: of one ticket type (`of`), or of the session altogether."""

    most: int
    of: uuid.UUID | None = None


class Counter(NamedTuple):
    """How many unnumbered places of a ticket type or a pool were left after a commit, and the version of that."""

    of: uuid.UUID
    version: int
    available: int


class Knock(msgspec.Struct, kw_only=True):
    """One request at the door, before it has an arrival number. `counters`: what it draws on, its ticket type's own first."""

    request: HoldRequest
    claim_ms: int
    limits: Sequence[Limit]
    counters: Sequence[Counter] = ()
    rate: int | None = None  # requests of its session that are let in a second
    lease_ms: int = LEASE_MS
    line: str = ""  # the one it is to stand in
    epoch: int = 0  # first arrival of a new epoch, when the counter was missing or belonged to another line
    floor: int = 0  # arrivals below this one belong to an older epoch


@functools.cache
def client() -> redis.Redis:
    """Return the connection of Django's cache `claims`. It is kept: getting it anew costs 15 µs each time."""
    held: redis.Redis = get_redis_connection("claims")
    return held


def _probe() -> None:
    """See that Redis takes what is written, on a new connection: those of before the failure may hang."""
    client().connection_pool.disconnect(inuse_connections=False)
    client().set(key("probe"), 1, px=1_000)


breaker = Breaker("redis", errors=LOST, probe=_probe)


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


def _mine_key(session: uuid.UUID, buyer: uuid.UUID, of: uuid.UUID | None = None) -> str:
    """Of what the buyer has in the session; or of one ticket type."""
    return f"{PREFIX}:mine:{{{session}}}:{buyer}{f':{of}' if of else ''}"


def _person_key(buyer: uuid.UUID) -> str:
    """Of a guest who became an account: `account`. Of an account: a field for each guest who became it."""
    return key("person", buyer)


def _asked_by_key(buyer: uuid.UUID) -> str:
    return key("asked-by", buyer)


def _idem_key(request: HoldRequest) -> str:
    return f"{PREFIX}:idem:{request.buyer}:{request.scope}:{request.key}"


def cap_keys(buyer: uuid.UUID, origin: str, pot: uuid.UUID) -> list[str]:
    """What is held unpaid and its tally: the buyer's, and of the address if it counts. See Note [What counts as held]."""
    of = [str(buyer), *([f"{{{pot}}}:{origin}"] if origin else [])]
    return [f"{PREFIX}:{kind}:{name}" for name in of for kind in ("held", "held-tally")]


def stock_keys(session: uuid.UUID, counter: uuid.UUID) -> list[str]:
    """Of a ticket type's or a pool's places, of those in line for them, and of those who hold some."""
    return [f"{PREFIX}:{kind}:{{{session}}}:{counter}" for kind in ("stock", "in-line", "holders")]


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
        _idem_key(request),
        key("asked", request.id),
        _asked_by_key(request.buyer),
        _person_key(request.buyer),
        *(_mine_key(request.session, request.buyer, limit.of) for limit in knock.limits),
        *(cap_keys(request.buyer, request.caps.origin, request.pot) if request.caps.buyer else ()),
        *(name for counter in knock.counters for name in stock_keys(request.session, counter.of)),
        *(claim_key(request.session, seat) for seat in sorted(request.seats)),
    ]
    caps = [most for most in (request.caps.buyer, request.caps.address) if most]
    argv: list[str | int | bytes] = [
        str(request.id),
        knock.claim_ms,
        request.places,
        request.fingerprint,
        knock.lease_ms if request.key else "",
        knock.epoch or "",
        knock.floor,
        request.encoded(),
        knock.line,
        len(knock.limits),
        len(knock.counters),
        len(caps),
        *(limit.most for limit in knock.limits),
        *caps,
        *(said for counter in knock.counters for said in (counter.available, counter.version)),
        knock.rate or "",
    ]
    return keys, argv


def _verdict(knock: Knock, answer: list[Any]) -> Verdict:
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
            return Verdict(kind="limit", limit=knock.limits[int(index) - 1].most)
        case ["taken", *lost]:
            seats = sorted(knock.request.seats)
            return Verdict(
                kind="taken",
                conflicts={seats[int(index) - 1]: reason for index, reason in zip(lost[::2], lost[1::2], strict=True)},
            )
        case ["mismatch" | "lacking" | "epoch" as kind]:
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


def give_back(requests: Sequence[HoldRequest], *, draws: Draws = NOTHING) -> None:
    """Nothing was accepted: free what these requests claimed, and let their buyers send the same keys anew.

    Raises: NoClaims.
    """
    upkeep([Standing.of_nothing(request) for request in requests], draws=draws)
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
    """What a reservation owns after a commit. `milliseconds`: how long still; 0: nothing any more; None: for good, sold.

    `counts`: how long it counts as held still, for its address at least; `in_vain`: for how long it was held and not paid for, -1: it was paid for.
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
        """The keys of Note [What counts as held]."""
        pot = self.ticket_type if self.ticket_type and not self.seats else self.session
        return cap_keys(self.buyer, self.origin, pot) if settings.RATE_LIMITS else []

    def counters(self, draws: Draws) -> list[uuid.UUID]:
        """What its unnumbered places draw on: its ticket type's own stock first, then the pools."""
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
    """A counter of a session that changed."""

    session: uuid.UUID
    counter: Counter


def upkeep(standings: Sequence[Standing], told: Collection[Told] = (), *, draws: Draws = NOTHING) -> None:
    """Bring Redis to what PostgreSQL committed; a flushed Redis heals here by itself. `draws`: by ticket type, which pools.

    Raises: NoClaims.
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
        value = f"s:{identity}" if standing.milliseconds is None else identity
        milliseconds = SOLD_MS if standing.milliseconds is None else standing.milliseconds
        counters = standing.counters(draws)
        limits = [None, *counters[:1]]
        keys.extend(claim_key(standing.session, seat) for seat in standing.seats)
        keys.extend(_mine_key(standing.session, standing.buyer, of) for of in limits)
        caps = standing.caps
        keys.extend(caps)
        for counter in counters:
            keys.extend(stock_keys(standing.session, counter))
        member = f"{identity}:{standing.places}"
        sizes = [len(limits), len(counters), len(caps) // 2]
        counts = [standing.counts if standing.counts_for_buyer else 0, standing.counts]
        said.append([identity, len(standing.seats), member, value, milliseconds, *sizes, counts, standing.in_vain])
    keys.extend(stock_keys(session, counter.of)[0] for session, counter in told)
    left = [[counter.version, counter.available] for _session, counter in told]
    script("upkeep")(keys=keys, args=[*map(msgspec.json.encode, (said, left, hold_caps.waits()))])


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
            return _asked_by(buyer)
    except FAILURES as error:
        raise NoClaims from error


def _asked_by(buyer: uuid.UUID) -> list[HoldRequest]:
    ids: Any = client().zrange(_asked_by_key(buyer), 0, -1)
    found: Any = client().mget([key("asked", name) for name in ids]) if ids else []
    return [_as_asked(said) for said in found if said]


def _as_asked(found: str) -> HoldRequest:
    arrival, said = found.split(" ", 1)
    return HoldRequest.from_json({**json.loads(said), "arrival": int(arrival)})


# --- People

Counted = Collection[tuple[uuid.UUID, uuid.UUID | None]]  # sessions, and the types of places without a number


def join(*, guest: uuid.UUID, account: uuid.UUID, counted: Counted) -> None:
    """The guest is the account from now on; `counted`: where PostgreSQL has something of it that counts for limits.

    Raises: NoClaims.
    """
    try:
        with breaker:
            _join(guest, account, counted)
    except FAILURES as error:
        raise NoClaims from error


def _join(guest: uuid.UUID, account: uuid.UUID, counted: Counted) -> None:
    pipe = client().pipeline()
    pipe.hset(_person_key(guest), "account", str(account))
    pipe.hset(_person_key(account), str(guest), 1)
    for name in (guest, account):
        pipe.expire(_person_key(name), PERSON_SECONDS)
    pipe.execute()
    # From here on the door lets nothing in under the guest's name, so what is read now is all there is.
    asked = {(request.session, request.ticket_type if request.asks_stock else None) for request in _asked_by(guest)}
    pipe = client().pipeline()
    for session, kind in {*counted, *asked}:
        for of in {None, kind}:
            _move_set(pipe, _mine_key(session, guest, of), _mine_key(session, account, of), seconds=86_400)
    _move_set(pipe, _asked_by_key(guest), _asked_by_key(account), seconds=600)
    pipe.execute()
    script("follow")(keys=[*cap_keys(guest, "", guest), *cap_keys(account, "", account)])


def _move_set(pipe: Any, source: str, target: str, *, seconds: int) -> None:
    pipe.zunionstore(target, [target, source], aggregate="MAX")
    pipe.expire(target, seconds)
    pipe.delete(source)


def names_of(buyer: uuid.UUID) -> list[uuid.UUID]:
    """The account that the buyer is, then the guests who became it, for as long as keys are kept; of anybody else the one name.

    Raises: NoClaims.
    """
    try:
        with breaker:
            known: Any = client().hgetall(_person_key(buyer))
            if "account" in known:
                buyer = uuid.UUID(known["account"])
                known = client().hgetall(_person_key(buyer))
    except FAILURES as error:
        raise NoClaims from error
    return [buyer, *map(uuid.UUID, known)]
