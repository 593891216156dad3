"""Report in Redis which workers consume, and when beat and relay last did their job; each report lapses by itself.

A report comes from the loop that does the work, never from a thread beside it:

    consumes(["holds.0", "mail"])   a worker, for each queue (by its alias), from its loop, while it has a live consumer
    worked("beat")                  beat, after each job that it handed over
    worked("relay")                 the active relay, after each round of a duty that succeeded

Both may be called as often as the loop turns: they write at most twice a second, and swallow an outage of Redis.

Reading needs one trip to Redis; each call takes a client of the reader's own, or the one of the claims behind its
breaker:

    ages()      {"worker": 0.4, "payments": 0.1, "jobs": None, "beat": 0.9, "relay": 0.3}: seconds since the last report
                of each part of `PARTS`; None if there was none for an hour. A kind of worker is as old as the oldest of
                its queues.
    queue_ages()  the same for each queue, by its alias
    silent()    the parts whose age is beyond `SILENT_AFTER`: they don't consume, tick or publish
    is_alive(part)  for the hot path: remembered for 0.2 s, and False when Redis can't be asked

For this process alone, `watchdog.py` reads `seconds_without_word` and `seconds_without_progress`. A loop that waits for
a good reason, such as for PostgreSQL to come back, calls `note_progress` at each try.

Without Redis nothing is known: `ages`, `queue_ages` and `silent` raise NoClaims, which callers report as gone.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any, Literal

import redis
import structlog
from django.conf import settings

from reservations.claims import claims, keys
from reservations.claims.claims import NoClaims

log = structlog.get_logger(__name__)

Part = Literal["worker", "payments", "jobs", "beat", "relay"]

SILENT_AFTER: dict[Part, float] = {"worker": 2.0, "payments": 2.0, "jobs": 2.0, "beat": 5.0, "relay": 5.0}
PARTS = tuple(SILENT_AFTER)
JOBS = ("housekeeping", "mail")  # queues of `worker --jobs`
WRITE_EVERY = 0.5
KEPT_MS = 3_600_000  # the lifetime of a report's key; the rest of it tells the report's age by Redis's own clock
REMEMBER = 0.2

_spoke = _progressed = time.monotonic()
_written: dict[str, float] = {}
_seen: tuple[float, Collection[Part]] = (float("-inf"), ())


def queues_of(part: Part) -> list[str]:
    """Return the queues, by alias, that a kind of worker consumes; none for beat and relay."""
    match part:
        case "worker":
            return [f"holds.{shard}" for shard in range(settings.SHARDS)]
        case "payments":
            return ["payments"]
        case "jobs":
            return list(JOBS)
        case _:
            return []


def queues() -> list[str]:
    return [queue for part in PARTS for queue in queues_of(part)]


# --- Writing


def consumes(names: Iterable[str]) -> None:
    """Report that the calling loop has a live consumer of each of these queues."""
    _say([f"consumes:{name}" for name in names])


def worked(part: Literal["beat", "relay"]) -> None:
    """Report that the calling loop has just done its job."""
    _say([f"worked:{part}"])


def note_progress() -> None:
    """Tell this process's watchdog that the work goes on, though it waits."""
    global _progressed
    _progressed = time.monotonic()


def seconds_without_word() -> float:
    """Return how long this process has neither consumed nor worked."""
    return time.monotonic() - _spoke


def seconds_without_progress() -> float:
    return time.monotonic() - _progressed


def forget() -> None:
    """Write the next report at once, and read anew: for tests, which empty Redis."""
    global _seen
    _written.clear()
    _seen = (float("-inf"), ())


def _say(words: Collection[str]) -> None:
    global _spoke, _progressed
    now = _spoke = _progressed = time.monotonic()
    due = [word for word in words if now - _written.get(word, float("-inf")) >= WRITE_EVERY]
    if not due:
        return
    _written.update(dict.fromkeys(due, now))
    try:
        with claims.breaker:
            pipe = claims.client().pipeline(transaction=False)
            for word in due:
                pipe.set(_key(word), 1, px=KEPT_MS)
            pipe.execute()
        claims.remembers_since()
    except (*claims.FAILURES, NoClaims) as error:
        log.debug("liveness.unsaid", error=repr(error))


def _key(word: str) -> str:
    return keys.key("alive", word)


# --- Reading


def ages(client: redis.Redis | None = None) -> dict[Part, float | None]:
    """Return the seconds since the last report of each part. Raises: NoClaims."""
    words = [f"consumes:{name}" for name in queues()] + ["worked:beat", "worked:relay"]
    found = _ages(words, client)
    of_queues = {part: [found[f"consumes:{name}"] for name in queues_of(part)] for part in PARTS}
    return {part: _oldest(of_queues[part] or [found[f"worked:{part}"]]) for part in PARTS}


def queue_ages(client: redis.Redis | None = None) -> dict[str, float | None]:
    """Return the seconds since a live consumer of each queue, by alias, reported. Raises: NoClaims."""
    found = _ages([f"consumes:{name}" for name in queues()], client)
    return {word.removeprefix("consumes:"): age for word, age in found.items()}


def silent(client: redis.Redis | None = None) -> list[Part]:
    """Return the parts that don't do their work at the moment. Raises: NoClaims."""
    return [part for part, age in ages(client).items() if age is None or age > SILENT_AFTER[part]]


def is_alive(part: Part) -> bool:
    """Tell whether the part does its work; False too when Redis can't be asked."""
    global _seen
    checked, alive = _seen
    if time.monotonic() - checked > REMEMBER:
        try:
            gone = silent()
            alive = [part for part in PARTS if part not in gone]
        except NoClaims:
            alive = ()
        _seen = (time.monotonic(), alive)
    return part in alive


def _ages(words: Collection[str], client: redis.Redis | None) -> dict[str, float | None]:
    try:
        if client is not None:
            left = _milliseconds_left(words, client)
        else:
            with claims.breaker:
                left = _milliseconds_left(words, claims.client())
    except claims.FAILURES as error:
        raise NoClaims from error
    return {word: (KEPT_MS - ms) / 1000 if ms >= 0 else None for word, ms in zip(words, left, strict=True)}


def _milliseconds_left(words: Collection[str], client: redis.Redis) -> list[int]:
    pipe: Any = client.pipeline(transaction=False)
    for word in words:
        pipe.pttl(_key(word))
    answers: list[int] = pipe.execute()
    return answers


def _oldest(found: Collection[float | None]) -> float | None:
    known = [age for age in found if age is not None]
    return max(known) if len(known) == len(found) else None
