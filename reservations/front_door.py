"""Where a request for seats comes in: judged by Redis in one trip, stored durably in a line, answered.

One thread a process serves batches: what arrived while the last batch was in flight is the next one, so an idle system adds
no delay and a crowd shares its trips. Nothing here waits for PostgreSQL while Redis and the broker are there; the one
exception is a new epoch of arrival numbers.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import functools
import os
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from uuid6 import uuid7

from reservations import claims, metrics, operations, replies
from reservations.claims import Knock, NoClaims, Verdict
from reservations.hold_request import Ask, HoldRequest
from reservations.lines import InboxLine, InProcessLine, Line, LineDown, RabbitLine
from reservations.sale_facts import SaleFacts, facts_of

log = structlog.get_logger(__name__)

MAX_BATCH = 500
ANSWER_SECONDS = 15.0  # longer than every deadline on the way; only a wedged process gets here
NEWER_SECONDS = 0.1  # a refusal stands on facts at most this old
EPOCH = 2**40  # arrivals an epoch holds; epoch * 2⁴⁰ + count stays below 2⁵³, exact in JavaScript


@dataclasses.dataclass(eq=False)
class SeatsUnavailable(Exception):
    """Somebody was faster. `conflicts`: seat → held, sold or blocked."""

    conflicts: dict[str, str]


class SoldOut(Exception):
    """Nothing is left of the ticket type."""


@dataclasses.dataclass(eq=False)
class SaleNotOpen(Exception):
    on_sale_at: dt.datetime | None


class SaleClosed(Exception):
    """It started, or was cancelled."""


@dataclasses.dataclass(eq=False)
class LimitReached(Exception):
    """With what the buyer already holds or bought it would be more than the session allows."""

    limit: int


@dataclasses.dataclass(eq=False)
class TooManySeats(Exception):
    """One request for more than the session allows a buyer. `field` is what asked for them."""

    limit: int
    field: str = "seats"


@dataclasses.dataclass(eq=False)
class UnknownSeat(Exception):
    seats: list[str]


@dataclasses.dataclass(eq=False)
class DuplicateSeat(Exception):
    seats: list[str]


class UnknownTicketType(Exception):
    """The session has no such ticket type, or it has no stock of unnumbered places."""


class NothingAsked(Exception):
    """Neither seats nor a quantity."""


class IdempotencyMismatch(Exception):
    """The key was used for another request."""


@dataclasses.dataclass(eq=False)
class RequestInFlight(Exception):
    """The first request with this key has no answer yet."""

    retry_after: int  # seconds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An accepted request. `outcome`: its final body when it came in time; `replay`: the first answer (status, JSON body) of a used key."""

    request: HoldRequest
    replayed: bool = False
    replay: tuple[int, str] | None = None
    outcome: dict[str, Any] | None = None
    waited: bool = False

    @property
    def id(self) -> uuid.UUID:
        return self.request.id


def admit(ask: Ask, *, buyer: uuid.UUID, wait: float = 0) -> Admission:
    """Let the request in, or say why not. With `wait`, up to that many seconds for the outcome; `keep_answer` must then follow.

    Raises: UnknownSession, FactsUnavailable, LineDown and every error of this module.
    """
    facts = _judged_by_facts(ask)
    request = HoldRequest.of(ask, reservation=uuid7(), buyer=buyer, arrival=0, accepted_at=facts.now())
    if wait <= 0:
        return _through_the_door(request, facts, wait=0)
    with replies.desk().expect(request.id) as future:
        if future is None:
            return _through_the_door(request, facts, wait=0)
        request = dataclasses.replace(request, reply_to=replies.desk().address)
        admission = _through_the_door(request, facts, wait=wait)
        if admission.replayed:
            return admission
        if admission.id != request.id:
            return dataclasses.replace(admission, waited=True)
        return dataclasses.replace(admission, waited=True, outcome=replies.wait(future, seconds=wait))


def keep_answer(admission: Admission, *, status: int, body: str) -> None:
    """After waiting: the same key will get this answer again. Losing the note costs a replay its waited-for body, nothing else."""
    if not admission.waited:
        return
    with contextlib.suppress(NoClaims):
        claims.answer_given([(admission.request, status, body)])


def _judged_by_facts(ask: Ask) -> SaleFacts:
    """What is refused by an older copy of the facts is judged again by a newer one: a price or seat may be seconds old."""
    facts = facts_of(ask.session)
    try:
        _refuse_nonsense(ask, facts)
    except (SaleClosed, SaleNotOpen, TooManySeats, UnknownSeat, UnknownTicketType):
        facts = facts_of(ask.session, max_age=NEWER_SECONDS)
        _refuse_nonsense(ask, facts)
    return facts


def _refuse_nonsense(ask: Ask, facts: SaleFacts) -> None:
    now = facts.now()
    if facts.cancelled or facts.starts_at <= now:
        raise SaleClosed
    if facts.on_sale_at is not None and facts.on_sale_at > now:
        raise SaleNotOpen(on_sale_at=facts.on_sale_at)
    if repeated := [seat for seat, times in Counter(ask.seats).items() if times > 1]:
        raise DuplicateSeat(seats=repeated)
    if ask.places < 1:
        raise NothingAsked
    if ask.places > facts.max_per_buyer:
        raise TooManySeats(limit=facts.max_per_buyer, field=ask.counted_by)
    if unknown := [seat for seat in ask.seats if seat not in facts.labels]:
        raise UnknownSeat(seats=unknown)
    if ask.ticket_type and ask.ticket_type not in (facts.ticket_types if ask.best_available else facts.stock):
        raise UnknownTicketType


def _through_the_door(request: HoldRequest, facts: SaleFacts, *, wait: float) -> Admission:
    return door().submit(request, facts, wait=wait)


@dataclasses.dataclass(eq=False, slots=True)
class _Entry:
    knock: Knock
    wait: float
    answer: concurrent.futures.Future[Admission]

    @property
    def request(self) -> HoldRequest:
        return self.knock.request


class FrontDoor:
    """The batching thread of one process."""

    def __init__(self, *, line: Line, fallback: Line | None) -> None:
        self.pid = os.getpid()
        self._line = line
        self._fallback = fallback
        self._arrived: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._floors: dict[
            uuid.UUID, int
        ] = {}  # the newest epoch this process took per session; older counters are stale
        threading.Thread(target=self._serve_for_ever, name="front-door", daemon=True).start()

    def submit(self, request: HoldRequest, facts: SaleFacts, *, wait: float) -> Admission:
        knock = Knock(
            request=request,
            claim_ms=facts.hold_seconds * 1000,
            max_per_buyer=facts.max_per_buyer,
            stock=facts.stock.get(request.ticket_type) if request.ticket_type and not request.best_available else None,
            lease_ms=claims.LEASE_MS + int(wait * 1000),
        )
        entry = _Entry(knock, wait, concurrent.futures.Future())
        self._arrived.put(entry)
        try:
            return entry.answer.result(timeout=ANSWER_SECONDS)
        except concurrent.futures.TimeoutError:
            raise LineDown("the front door did not answer") from None

    def _serve_for_ever(self) -> None:
        while True:
            batch = [self._arrived.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < MAX_BATCH:
                    batch.append(self._arrived.get_nowait())
            started = time.perf_counter()
            try:
                self.serve(batch)
            except Exception as error:
                log.exception("front_door.batch_failed", requests=len(batch))
                for entry in batch:
                    if not entry.answer.done():
                        entry.answer.set_exception(LineDown(repr(error)))
            finally:
                connection.close()  # back to the pool
            metrics.admit_batch.observe(len(batch))
            metrics.admit_seconds.observe(time.perf_counter() - started)

    def serve(self, batch: Sequence[_Entry]) -> None:
        """Judge, store and answer one batch; every entry has its answer afterwards."""
        try:
            accepted = self._judge(batch)
            line = self._line
        except NoClaims:
            accepted = self._take_epochs_without_redis(batch)
            line = self._fallback or self._line
        if accepted:
            self._store_and_answer(accepted, line)

    def _judge(self, batch: Sequence[_Entry]) -> list[_Entry]:
        """One trip to Redis; a second one for sessions that need a new epoch. Raises: NoClaims."""
        for entry in batch:
            entry.knock.floor = self._floors.get(entry.request.session, 0)
        verdicts = claims.admit([entry.knock for entry in batch])
        if early := [entry for entry, verdict in zip(batch, verdicts, strict=True) if verdict.kind == "epoch"]:
            self._open_epochs(early)
            again = iter(claims.admit([entry.knock for entry in early]))
            verdicts = [next(again) if verdict.kind == "epoch" else verdict for verdict in verdicts]
        return [entry for entry, verdict in zip(batch, verdicts, strict=True) if self._hear(entry, verdict)]

    def _open_epochs(self, entries: Sequence[_Entry]) -> None:
        epochs = {session: next_epoch() for session in sorted({entry.request.session for entry in entries})}
        for entry in entries:
            entry.knock.epoch = self._floors[entry.request.session] = entry.knock.floor = (
                epochs[entry.request.session] * EPOCH
            )

    def _take_epochs_without_redis(self, batch: Sequence[_Entry]) -> list[_Entry]:
        """Nobody sequences: each batch is an epoch of its own in its sessions. Nothing is filtered; PostgreSQL decides."""
        counts: Counter[uuid.UUID] = Counter()
        waiting = [entry for entry in batch if not entry.answer.done()]
        try:
            epoch = next_epoch() * EPOCH
        except DatabaseError as error:
            for entry in waiting:
                self._refuse(entry, LineDown(repr(error)))
            return []
        for entry in waiting:
            counts[entry.request.session] += 1
            self._floors[entry.request.session] = epoch + counts[entry.request.session]
            entry.knock.request = dataclasses.replace(entry.request, arrival=epoch + counts[entry.request.session])
        return waiting

    def _hear(self, entry: _Entry, verdict: Verdict) -> bool:
        """Whether it was admitted; the others have their answer here."""
        request = entry.request
        match verdict.kind:
            case "admitted":
                assert verdict.id is not None
                entry.knock.request = dataclasses.replace(request, id=verdict.id, arrival=verdict.arrival)
                return True
            case "replay":
                assert verdict.id is not None
                first = dataclasses.replace(request, id=verdict.id, arrival=verdict.arrival)
                replay = (verdict.status, verdict.body) if verdict.body else None
                entry.answer.set_result(Admission(request=first, replayed=True, replay=replay))
                metrics.admitted.labels("replay", "none").inc()
            case "in_flight":
                self._refuse(entry, RequestInFlight(retry_after=max(1, round(verdict.retry_ms / 1000))))
            case "mismatch":
                self._refuse(entry, IdempotencyMismatch())
            case "limit":
                self._refuse(entry, LimitReached(limit=entry.knock.max_per_buyer))
            case "taken":
                self._refuse(entry, SeatsUnavailable(conflicts=verdict.conflicts))
            case "sold_out":
                self._refuse(entry, SoldOut())
            case "epoch":
                self._refuse(entry, LineDown("no arrival number was to be had"))
        return False

    def _refuse(self, entry: _Entry, error: Exception) -> None:
        metrics.admitted.labels(type(error).__name__, "none").inc()
        entry.answer.set_exception(error)

    def _store_and_answer(self, entries: Sequence[_Entry], line: Line) -> None:
        requests = [entry.request for entry in entries]
        try:
            name = self._publish(requests, line)
        except LineDown as error:
            with contextlib.suppress(NoClaims):  # the claims lapse by themselves, with the hold
                claims.give_back(requests)
            for entry in entries:
                self._refuse(entry, error)
            return
        with contextlib.suppress(NoClaims):  # then the same key waits out its lease, and is settled once all the same
            claims.answer_given([(entry.request, 0, "") for entry in entries if not entry.wait])
        metrics.admitted.labels("admitted", name).inc(len(entries))
        for entry in entries:
            entry.answer.set_result(Admission(request=entry.request))

    def _publish(self, requests: Sequence[HoldRequest], line: Line) -> str:
        """Into the line, or into the inbox where the line is down; the name of the one that took them. Raises: LineDown."""
        try:
            line.publish(requests)
        except LineDown:
            if self._fallback is None or line is self._fallback:
                raise
            self._fallback.publish(requests)
            return self._fallback.name
        return line.name


def next_epoch() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('reservation_arrival_epoch')")
        epoch: int = cursor.fetchone()[0]
    return epoch


def build_door() -> FrontDoor:
    match settings.LINE:
        case "rabbitmq":
            return FrontDoor(line=RabbitLine(), fallback=InboxLine())
        case "inbox":
            return FrontDoor(line=InboxLine(), fallback=None)
        case _:
            return FrontDoor(line=InProcessLine(operations.settle), fallback=None)


@functools.cache
def _door_of(pid: int) -> FrontDoor:
    return build_door()


_opening = threading.Lock()


def door() -> FrontDoor:
    """This process's own, also after a fork."""
    with _opening:
        return _door_of(os.getpid())
