"""Admit requests for seats: Redis judges a batch in one trip, a queue stores it durably, then each request is answered.

One thread in each process serves batches. Requests that arrive while a batch is in flight are the next one, so an idle
system adds no delay and a crowd shares its trips. While Redis and the broker are there, only a new epoch of arrival
numbers waits for PostgreSQL.

Note [One epoch, one queue]
An epoch of a session belongs to one queue. Redis keeps the queue's name beside the counter. The script that gives
numbers refuses any other queue; then the process opens a new epoch. This costs nothing while the queue stays the same.
Processes needn't agree: if one has seen RabbitMQ fail and another has not yet, each change between them costs a trip
and a new epoch, until their breakers agree. Whatever they see:

- Numbers of a session rise in the order in which Redis admitted, and all numbers of an epoch are in one queue, which is
  allocated in order.
- Back to RabbitMQ: the order to drain the shard's inbox is in the queue, confirmed, before Redis gives a number of the
  new epoch. So the worker first allocates the requests in the inbox. A process that dies in between leaves one drain
  order too many, never one too few. Every epoch on RabbitMQ begins so, because a Redis that forgot doesn't know which
  queue was used before.
- Away from RabbitMQ: requests that fall over in the middle of a batch get an epoch of their own, and Redis counts on
  from there. They may be allocated before requests that a RabbitMQ that is cut off still holds: a sale doesn't stop for
  those. Claims keep apart the requests for the same seats.
- A message that RabbitMQ took without confirming it in time is in both queues. The first of them that is allocated
  decides; the other changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import cast

import msgspec
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from base import parking
from base.ids import uuid7
from base.threads import keep_running
from reservations import metrics
from reservations.admission.entries import (
    Admission,
    Entry,
    OutcomeUnknown,
    answer_of,
    as_account,
    draws_of,
    note,
    verdicts_on,
)
from reservations.admission.floors import Floors
from reservations.admission.judging import judged_by_facts
from reservations.admission.sale_facts import SaleFacts, StockFacts
from reservations.bodies import ReservationBody
from reservations.claims import claims, standings
from reservations.claims.claims import Applicant, Limit, NoClaims, Verdict
from reservations.claims.pace import Gate
from reservations.hold_caps import caps_of
from reservations.hold_request import EPOCH_BITS, Ask, HoldRequest
from reservations.operations import queued
from reservations.queueing import replies
from reservations.queueing.queues import HoldQueue, InboxQueue, InProcessQueue, QueueDown, RabbitQueue, by_shard
from reservations.refusals import (
    Crowded,
    IdempotencyMismatch,
    LimitReached,
    RequestInFlight,
    SeatsUnavailable,
    SignedInSince,
    SoldOut,
    TooManyHolds,
)

log = structlog.get_logger(__name__)

MAX_BATCH = 500
EPOCH_TRIES = 5  # another process may open a later epoch between two trips of ours, but not five times in a row
EPOCH = 1 << EPOCH_BITS  # the first arrival of epoch 1


Refusal = (
    SeatsUnavailable
    | SoldOut
    | LimitReached
    | TooManyHolds
    | IdempotencyMismatch
    | RequestInFlight
    | SignedInSince
    | Crowded
    | QueueDown
)  # each counted by its `code`, which the API answers with


def admit(ask: Ask, *, buyer: uuid.UUID, is_guest: bool = False, wait: float = 0, address: str = "") -> Admission:
    """Admit the request, or raise why not. With `wait`, wait up to that many seconds for the outcome.

    After a wait, `keep_answer` must follow. `address` is the client's; it is empty for the box office's own requests,
    which count for no address.

    Raises: UnknownSession, FactsUnavailable, QueueDown, every error of this module, and those of `pricing` that are
    known already.
    """
    facts = judged_by_facts(ask, is_guest=is_guest)
    lane = (facts.lane_of(ask.lane_code) or "") if ask.lane_code else ""
    caps = caps_of(
        buyer=buyer,
        is_guest=is_guest,
        address=address,
        max_per_buyer=facts.max_per_buyer,
        capacity=facts.capacity_of(ask.ticket_type if ask.asks_stock else None),
    )
    request = HoldRequest.of(
        ask, reservation=uuid7(), buyer=buyer, arrival=0, accepted_at=facts.now(), lane=lane, caps=caps
    )
    if wait <= 0:
        return _through_the_door(request, facts, wait=0)
    with replies.desk().expect(request.id, of="worker") as future:
        if future is None:
            return _through_the_door(request, facts, wait=0)
        request = msgspec.structs.replace(request, reply_to=replies.desk().address)
        admission = _through_the_door(request, facts, wait=wait)
        if admission.replayed:
            return admission
        if admission.id != request.id:
            return msgspec.structs.replace(admission, waited=True)
        outcome = cast(ReservationBody | None, replies.wait(future, seconds=wait))
        return msgspec.structs.replace(admission, waited=True, outcome=outcome)


def keep_answer(admission: Admission, *, status: int, body: str) -> None:
    """Store the answer after a wait, for a replay of the same key. A lost note costs that replay its outcome only."""
    if not admission.waited:
        return
    with contextlib.suppress(NoClaims):
        claims.answer_given([(admission.request, status, body)])


def _through_the_door(request: HoldRequest, facts: SaleFacts, *, wait: float) -> Admission:
    return door().submit(request, facts, wait=wait)


def _waits_however_few(request: HoldRequest, facts: SaleFacts, stock: StockFacts) -> bool:
    """Tell whether the request is admitted however few places are left.

    A session with lanes may serve it before requests in the queue, and a session with standby may let it wait.
    """
    pays = request.payment is not None or stock.is_free
    return bool(facts.lanes) or (facts.standby and request.is_order and pays)


class FrontDoor:
    """Admit requests in batches, with one thread for the process."""

    def __init__(self, *, queue: HoldQueue, fallback: HoldQueue | None) -> None:
        self.pid = os.getpid()
        self._queue = queue
        self._fallback = fallback
        self._arrived: SimpleQueue[Entry] = SimpleQueue()
        self._floors = Floors()
        self._gate = Gate()
        keep_running(self._serve_for_ever, name="front-door")

    def submit(self, request: HoldRequest, facts: SaleFacts, *, wait: float) -> Admission:
        stock = facts.stock.get(request.ticket_type) if request.ticket_type and request.asks_stock else None
        limits = [Limit(facts.max_per_buyer)]
        if stock and stock.max_per_buyer:
            limits.append(Limit(stock.max_per_buyer, request.ticket_type))
        applicant = Applicant(
            request=request,
            claim_ms=facts.hold_seconds * 1000,
            limits=limits,
            levels=stock.levels if stock and not _waits_however_few(request, facts, stock) else (),
            rate=facts.admission_rate,
            lease_ms=claims.LEASE_MS + int(wait * 1000),
        )
        entry = Entry(applicant, wait)
        if not parking.together(self._serve_together, entry):
            self._arrived.put(entry)
        try:
            return answer_of(entry)
        finally:
            del entry  # a refusal's traceback names this frame: seventy objects would wait for the garbage collector

    def _serve_for_ever(self) -> None:
        while True:
            batch = [self._arrived.get()]
            with contextlib.suppress(Empty):
                while len(batch) < MAX_BATCH:
                    batch.append(self._arrived.get_nowait())
            self._serve_batch(batch)

    def _serve_together(self, entries: Sequence[Entry]) -> None:
        """Serve the requests of a hub, in its thread. See Note [Parked requests] in `base.parking`."""
        for start in range(0, len(entries), MAX_BATCH):
            self._serve_batch(entries[start : start + MAX_BATCH])

    def _serve_batch(self, entries: Sequence[Entry]) -> None:
        started = time.perf_counter()
        batch = [entry for entry in entries if entry.answer.set_running_or_notify_cancel()]  # some gave up waiting
        try:
            self.serve(batch)
        except Exception as error:
            log.exception("front_door.batch_failed", requests=len(batch))
            for entry in batch:
                entry.fail(QueueDown(repr(error)))
        finally:
            connection.close()  # back to the pool
        if forgotten := [entry for entry in batch if not entry.answer.done()]:
            log.error("front_door.left_without_an_answer", requests=len(forgotten))
            for entry in forgotten:
                entry.fail(QueueDown("the front door left it without an answer"))
        metrics.admit_batch.observe(len(batch))
        metrics.admit_seconds.observe(time.perf_counter() - started)

    def serve(self, batch: Sequence[Entry]) -> None:
        """Judge, store and answer one batch; every entry has its answer afterwards."""
        try:
            accepted = self._judge(batch)
        except NoClaims:
            accepted = self._let_in_without_redis([entry for entry in batch if not entry.answer.done()])
            try:
                self._count_without_redis(accepted)
            except QueueDown as error:
                for entry in accepted:
                    self._refuse(entry, error)
                return
        self._store_and_answer(accepted)

    def _judge(self, batch: Sequence[Entry]) -> list[Entry]:
        """Return the admitted entries, after one trip to Redis; a new epoch takes further ones. Raises: NoClaims."""
        queue = self._fallback if self._fallback and self._queue.is_down else self._queue
        for entry in batch:
            entry.applicant.queue = queue.name
            entry.applicant.floor = self._floors.of(entry.request.session)
        verdicts = verdicts_on(batch)
        for _try in range(EPOCH_TRIES):
            joined = [entry for entry in batch if verdicts[entry].kind == "joined"]
            for entry in joined:
                as_account(entry, verdicts[entry])
            early = [entry for entry in batch if verdicts[entry].kind == "epoch"]
            again = [*joined, *(early if early and self._open_epoch(early) else [])]
            if not again:
                break
            verdicts |= verdicts_on(again)
        return [entry for entry in batch if self._hear(entry, verdicts[entry])]

    def _open_epoch(self, entries: Sequence[Entry]) -> bool:
        """Open the epoch on its queue, or on the other queue if that one is down. See Note [One epoch, one queue]."""
        try:
            if entries[0].applicant.queue == self._queue.name:
                self._queue.open_epoch(by_shard([entry.request for entry in entries]))
        except QueueDown:
            if self._fallback is None:
                return False
            for entry in entries:
                entry.applicant.queue = self._fallback.name
                entry.applicant.epoch = 0  # that queue's epoch may be open already
            return True
        try:
            epoch = next_epoch() * EPOCH
        except DatabaseError:
            return False
        for entry in entries:
            entry.applicant.epoch = self._floors[entry.request.session] = entry.applicant.floor = epoch
        return True

    def _let_in_without_redis(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that their sessions' rates admit; answer the others."""
        let_in = []
        for entry in entries:
            if self._gate.lets_in(entry.request.session, entry.applicant.rate, now=time.monotonic()):
                let_in.append(entry)
            else:
                self._refuse(entry, Crowded(retry_after=1))
        return let_in

    def _count_without_redis(self, entries: Sequence[Entry]) -> None:
        """Number these requests in an epoch of their own, for the queue in PostgreSQL. Raises: QueueDown."""
        try:
            epoch = next_epoch() * EPOCH
        except DatabaseError as error:
            raise QueueDown(repr(error)) from error
        queue = self._fallback or self._queue
        counts: Counter[uuid.UUID] = Counter()
        for entry in entries:
            session = entry.request.session
            counts[session] += 1
            self._floors[session] = epoch + counts[session]
            entry.applicant.queue = queue.name
            entry.applicant.request = msgspec.structs.replace(entry.request, arrival=epoch + counts[session])

    def _hear(self, entry: Entry, verdict: Verdict) -> bool:
        """Tell whether Redis admitted the entry; answer it if not."""
        request = entry.request
        match verdict.kind:
            case "admitted":
                assert verdict.id is not None
                entry.applicant.request = msgspec.structs.replace(request, id=verdict.id, arrival=verdict.arrival)
                return True
            case "replay":
                assert verdict.id is not None
                first = msgspec.structs.replace(request, id=verdict.id, arrival=verdict.arrival)
                replay = (verdict.status, verdict.body) if verdict.body else None
                entry.answer.set_result(Admission(request=first, replayed=True, replay=replay))
                metrics.admitted.labels("replay", "none").inc()
            case "in_flight":
                self._refuse(entry, RequestInFlight(retry_after=max(1, round(verdict.retry_ms / 1000))))
            case "crowded":
                self._refuse(entry, Crowded(retry_after=verdict.retry_ms / 1000))
            case "mismatch":
                self._refuse(entry, IdempotencyMismatch())
            case "limit" if entry.is_late:
                self._refuse(entry, SignedInSince())
            case "limit":
                self._refuse(entry, LimitReached(limit=verdict.limit))
            case "wait":
                self._refuse(entry, TooManyHolds(retry_after=verdict.retry_ms / 1000))
            case "taken":
                self._refuse(entry, SeatsUnavailable(conflicts=verdict.conflicts))
            case "lacking":
                self._refuse(entry, SoldOut())
            case _:  # "epoch" or "joined" once more
                self._refuse(entry, QueueDown("no arrival number was to be had"))
        return False

    def _refuse(self, entry: Entry, error: Refusal) -> None:
        metrics.admitted.labels(error.code, "none").inc()
        if isinstance(error, Crowded):
            metrics.put_off.labels("admission").inc()
        entry.answer.set_exception(error)

    def _store_and_answer(self, entries: Sequence[Entry]) -> None:
        """Store each entry in the queue of its epoch; renumber it for PostgreSQL's if RabbitMQ doesn't take it."""
        ours = [entry for entry in entries if entry.applicant.queue == self._queue.name]
        others = [entry for entry in entries if entry.applicant.queue != self._queue.name]
        left = self._store(ours, self._queue)
        if self._fallback:
            left = self._store([*others, *self._fall_over(left, self._fallback)], self._fallback)
        self._turn_away(left, QueueDown("no queue took it"))

    def _fall_over(self, entries: Sequence[Entry], queue: HoldQueue) -> Sequence[Entry]:
        """Renumber the entries that got their numbers for the other queue. See Note [One epoch, one queue]."""
        if not entries:
            return []
        try:
            self._count_without_redis(entries)
        except QueueDown as error:
            self._turn_away(entries, error)
            return []
        # without Redis, no request can ask for them there or count on from a lower number
        with contextlib.suppress(NoClaims):
            claims.renumbered([entry.request for entry in entries], queue=queue.name)
        return entries

    def _store(self, entries: Sequence[Entry], queue: HoldQueue) -> list[Entry]:
        """Store and answer the entries that the queue takes; return the others."""
        if not entries:
            return []
        try:
            queue.publish([entry.request for entry in entries])
        except QueueDown as error:
            log.info("front_door.queue_down", queue=queue.name, error=repr(error.__cause__))
            note(entries, stored=error.stored, unsure=error.unsure)
        except Exception:  # a bug; the queue may have taken them before it
            log.exception("front_door.queue_failed", queue=queue.name)
            note(entries, unsure={entry.request.id for entry in entries})
        else:
            note(entries, stored={entry.request.id for entry in entries})
        self._accept([entry for entry in entries if entry.stored], queue)
        return [entry for entry in entries if not entry.answer.done()]

    def _accept(self, entries: Sequence[Entry], queue: HoldQueue) -> None:
        """Answer the stored entries; a failure here changes nothing for them."""
        try:
            claims.answer_given([(entry.request, 0, "") for entry in entries if not entry.wait])
        except NoClaims:
            pass  # the same key waits out its lease then, and is allocated once all the same
        except Exception:
            log.exception("front_door.answer_not_noted")
        for entry in entries:
            entry.answer.set_result(Admission(request=entry.request))
        metrics.admitted.labels("admitted", queue.name).inc(len(entries))

    def _turn_away(self, entries: Sequence[Entry], error: QueueDown) -> None:
        """Refuse entries that aren't stored, as far as is known. If Redis is away, their claims lapse by themselves."""
        refused = [entry for entry in entries if not entry.unsure]
        for entry in entries:
            if entry.unsure:  # it keeps its claims: it may be allocated yet
                self._refuse(entry, OutcomeUnknown())
        if not refused:
            return
        with contextlib.suppress(NoClaims):
            standings.give_back([entry.request for entry in refused], draws=draws_of(refused))
        for entry in refused:
            self._refuse(entry, error)


def next_epoch() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('reservation_arrival_epoch')")
        epoch: int = cursor.fetchone()[0]
    return epoch


def build_door() -> FrontDoor:
    match settings.QUEUE:
        case "rabbitmq":
            return FrontDoor(queue=RabbitQueue(), fallback=InboxQueue())
        case "inbox":
            return FrontDoor(queue=InboxQueue(), fallback=None)
        case _:
            return FrontDoor(queue=InProcessQueue(queued.receive), fallback=None)


@functools.cache
def _door_of(pid: int) -> FrontDoor:
    return build_door()


_opening = threading.Lock()


def door() -> FrontDoor:
    """Return the front door of this process, also after a fork."""
    with _opening:
        return _door_of(os.getpid())
