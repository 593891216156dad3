"""Collect what one transaction changed: events are written inside it, messages are sent after it.

Sending may fail without harm. Claims lapse by themselves, a map's version number shows that a diff is missing, a
buyer's state is sent again when their socket connects, and a waiting web process answers 202.
"""

from __future__ import annotations

import atexit
import dataclasses
import datetime as dt
import queue
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from base import causes
from base.rows import as_json, execute
from base.threads import keep_running
from realtime import events, wire
from realtime.events import NewEvent
from reservations import metrics, orders
from reservations.allocation import pricing, statements
from reservations.claims import claims, standings
from reservations.claims.claims import NoClaims, StockLevel
from reservations.claims.standings import Standing, Told
from reservations.models import LIVE, Reservation, Status
from reservations.queries import personal_message
from reservations.queueing import replies
from reservations.refusals import UNPAID
from sessions_app.models import SeatStatus, Session, TicketType

log = structlog.get_logger(__name__)

# How the number of free seats changes when a seat takes a status. Only free seats are held or blocked, only held ones
# are sold.
GAINED = {SeatStatus.FREE: 1, SeatStatus.HELD: -1, SeatStatus.BLOCKED: -1, SeatStatus.SOLD: 0}
COUNTED = ("id", "map_version", "arrival_high", "free_seats")
COUNT = """
UPDATE sessions_app_session AS session
SET map_version = new.map_version, arrival_high = new.arrival_high, free_seats = new.free_seats
FROM jsonb_to_recordset(%s) AS new (id uuid, map_version bigint, arrival_high bigint, free_seats int)
WHERE session.id = new.id
"""


@dataclasses.dataclass(slots=True)
class _Diff:
    start: int
    version: int
    changes: dict[str, str]
    available: int = 0


class Announcements:
    """Collect the changes of one transaction, to `record()` them inside it and `send()` them after it.

    The caller has locked every session that it passes.
    """

    def __init__(self, *, now: dt.datetime) -> None:
        self.now = now
        self._began = time.monotonic()
        self._events: list[NewEvent] = []
        self._diffs: dict[uuid.UUID, _Diff] = {}
        self._sessions: dict[uuid.UUID, Session] = {}
        self._levels: dict[uuid.UUID, Told] = {}
        self._left: dict[uuid.UUID, tuple[uuid.UUID, int]] = {}  # ticket type → its session, and places left
        self.draws: statements.Draws = {}  # the pools of the types looked up so far; `record` looks up the rest
        self._reservations: list[Reservation] = []
        self._given_up: list[Standing] = []
        self._sales: dict[uuid.UUID, Mapping[str, object]] = {}
        self._outcomes: list[tuple[str, float]] = []  # each event with the seconds since the request was accepted
        self._replies: dict[str, list[tuple[uuid.UUID, Mapping[str, object]]]] = defaultdict(list)
        self._to_pay: dict[uuid.UUID, str] = {}

    def seats(
        self,
        session: Session,
        event: str,
        changes: dict[str, SeatStatus],
        *,
        gained: int | None = None,
        of: Sequence[Reservation] = (),
    ) -> None:
        """Record the next version of the session's map.

        `gained` is how many more seats are free, where `GAINED` doesn't tell. `of` are the reservations that own the
        seats: the event takes the cause that all of them share.
        """
        if not changes:
            return
        letters = {label: str(letter.value) for label, letter in changes.items()}
        diff = self._diffs.setdefault(session.pk, _Diff(session.map_version, session.map_version, {}))
        session.map_version = diff.version = session.map_version + 1
        session.free_seats += sum(map(GAINED.__getitem__, changes.values())) if gained is None else gained
        diff.available = session.free_seats
        diff.changes.update(letters)
        self._sessions[session.pk] = session
        self._events.append(
            NewEvent(
                event=event,
                session=session.pk,
                map_version=session.map_version,
                facts={"changes": letters},
                why=causes.or_else(causes.shared_by(row.why for row in of)),
            )
        )

    def arrived(self, session: Session, arrival: int) -> None:
        """Note that the session's requests are allocated up to this arrival at least."""
        session.arrival_high = max(session.arrival_high, arrival)
        self._sessions[session.pk] = session

    def stock_level(self, session: uuid.UUID, of: uuid.UUID, *, version: int, available: int) -> None:
        """Note the stock level of a ticket type or a pool, for admission."""
        self._levels[of] = Told(session, StockLevel(of, version, available))

    def left(self, kind: TicketType, available: int) -> None:
        """Note how many of the type's unnumbered places are left, for every open page of the session."""
        self._left[kind.pk] = kind.session_id, available

    def reservation(self, reservation: Reservation, event: str = "", **judged_by: Any) -> None:
        """Notify the reservation's buyer; with `event`, also write an event.

        `judged_by` are the limits that the request was judged by; the event keeps them.
        """
        self._reservations.append(reservation)
        if event:
            self._outcomes.append((event, (self.now - reservation.accepted_at).total_seconds()))
            self.fact(event, reservation=reservation, facts=reservation.facts() | judged_by)

    def priced(self, reservation: Reservation) -> None:
        """Record that the reservation has other terms and another total, and notify its buyer."""
        self.reservation(reservation)
        facts = {
            **reservation.facts(),
            "total": {"amount": reservation.total, "currency": reservation.currency},
            "voucher": str(reservation.voucher_id) if reservation.voucher_id else None,
            "voucher_uses": reservation.voucher.uses if reservation.voucher else None,
            "concessions": [name for line in reservation.lines if (name := pricing.concession_of(line))],
        }
        self.fact("reservation.priced", reservation=reservation, facts=facts)

    def moved(self, reservation: Reservation, *, before: Sequence[str], to: Sequence[str]) -> None:
        """Record that the reservation left the seats `before` for as many others.

        Its buyer is notified, and the claims of the old seats are given up.
        """
        self._given_up.append(
            dataclasses.replace(
                _standing(reservation, now=self.now),
                seats=before,
                ticket_type=None,
                milliseconds=0,
                counts=0,
                in_vain=0,
            )
        )
        self.reservation(reservation)
        self.fact(
            "reservation.moved",
            reservation=reservation,
            facts={**reservation.facts(), "from": list(before), "to": list(to)},
        )

    def gave_back(self, reservation: Reservation, *, seats: Sequence[str]) -> None:
        """Give up the claims of seats that a reservation is about to lose, and lower what its buyer counts as having.

        Call it before the reservation changes.
        """
        self._given_up.append(
            dataclasses.replace(
                _standing(reservation, now=self.now), seats=list(seats), milliseconds=0, counts=0, in_vain=0
            )
        )

    def sold(self, reservation: Reservation, *, sale: Mapping[str, object]) -> None:
        """Add the whole sale to the message that its buyer gets."""
        self._sales[reservation.pk] = {"sale": sale}

    def fact(self, event: str, *, reservation: Reservation, facts: Mapping[str, object]) -> None:
        self._events.append(
            NewEvent(
                event=event,
                session=reservation.session_id,
                buyer=reservation.buyer,
                facts=facts,
                why=causes.or_else(reservation.why),
            )
        )

    def reply(self, address: str, name: uuid.UUID, outcome: Mapping[str, object]) -> None:
        if address:
            self._replies[address].append((name, outcome))

    def to_pay(self, order: Reservation, *, reply_to: str) -> None:
        """Ask for the payment of an order that is held now. `reply_to` is the web process that waits for the result."""
        self._to_pay[order.pk] = reply_to

    def record(self) -> None:
        """Write the events and the sessions' figures. Call it last before the commit."""
        if self._sessions:
            counted = [{name: getattr(session, name) for name in COUNTED} for session in self._sessions.values()]
            execute(COUNT, as_json(counted))
        self._look_up_draws()
        events.record_many(self._events)
        for reservation in self._reservations:
            _ = reservation.place_on_standby  # caches the place at this moment, so that `send` reads nothing

    def _look_up_draws(self) -> None:
        types = {row.ticket_type_id for row in self._reservations if row.has_stock}
        types |= {standing.ticket_type for standing in self._given_up if not standing.seats}
        unknown = {kind for kind in types if kind is not None} - self.draws.keys()
        if unknown:
            self.draws |= statements.draws(types=unknown)

    def send(self) -> None:
        """Send everything after the commit. Never raises: the commit stands, and each lost effect heals by itself."""
        self._count()
        self._try("replies", lambda: replies.send(self._replies))
        self._try("claims", self._keep_claims)
        for session, diff in self._diffs.items():
            wire.send_diff(
                session=session, start=diff.start, version=diff.version, changes=diff.changes, available=diff.available
            )
        for ticket_type, (at, available) in self._left.items():
            wire.send_stock(session=at, ticket_type=ticket_type, available=available, at=self.now)
        for reservation in self._reservations:
            message = {**personal_message(reservation), **self._sales.get(reservation.pk, {})}
            wire.send_personal(buyer=reservation.buyer, message=message)
            # PAYING shows as PROCESSING, which the order showed before
            if reservation.is_order and reservation.status != Status.PAYING:
                wire.send_personal(buyer=reservation.buyer, message=orders.message(reservation))
        orders.ring(list(self._to_pay.items()))  # last: the buyer hears of the hold before the payment

    def _count(self) -> None:
        for event, seconds in self._outcomes:
            if event in {"reservation.held", "reservation.rejected"}:
                metrics.allocated.labels(event.removeprefix("reservation.")).inc()
                metrics.wait_in_queue.observe(max(0.0, seconds))  # the web machine's clock took the start
            elif event == "reservation.expired":
                metrics.expired.inc()

    def _try(self, effect: str, work: Callable[[], None]) -> None:
        try:
            work()
        except NoClaims as error:
            metrics.effects_lost.labels(effect).inc()
            log.info("effects.lost", effect=effect, error=repr(error.__cause__))

    def _keep_claims(self) -> None:
        elapsed = dt.timedelta(seconds=time.monotonic() - self._began)
        latest = {reservation.pk: reservation for reservation in self._reservations}
        now = [*self._given_up, *(_standing(row, now=self.now + elapsed) for row in latest.values())]
        standings.upkeep(now, told=self._levels.values(), draws=self.draws)


class Teller:
    """Send announcements from a thread, in order: the next batch is allocated while Redis hears of the last one.

    A worker that is four batches ahead waits. What a dying process didn't send heals like any other lost message.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[Announcements] = queue.Queue(maxsize=4)
        keep_running(self._run, name="teller")
        atexit.register(self.flush)

    def tell(self, news: Announcements) -> None:
        self._waiting.put(news)

    def flush(self) -> None:
        self._waiting.join()

    def _run(self) -> None:
        while True:
            news = self._waiting.get()
            try:
                news.send()
            except Exception:
                metrics.effects_lost.labels("news").inc()
                log.exception("effects.lost", effect="news")
            finally:
                self._waiting.task_done()


_teller: Teller | None = None


def tell_from_a_thread() -> None:
    """Send from a thread from now on, in this process. Workers use it: no caller reads their work before it is sent."""
    global _teller
    _teller = _teller or Teller()


def tell(news: Announcements) -> None:
    """Send the announcements after their commit.

    Never raises: the caller's work is committed, and the caller must be able to answer.
    """
    if _teller is not None:
        _teller.tell(news)
        return
    try:
        news.send()
    except Exception:
        metrics.effects_lost.labels("news").inc()
        log.exception("effects.lost", effect="news")


def _standing(reservation: Reservation, *, now: dt.datetime) -> Standing:
    end = reservation.claimed_until
    milliseconds: int | None = 0
    if reservation.status == Status.CONFIRMED:
        milliseconds = None
    elif reservation.status in LIVE and end is not None:
        milliseconds = max(int((end - now).total_seconds() * 1000), 1)
    counts, in_vain = milliseconds or 0, 0
    is_free = reservation.status == Status.CONFIRMED and not reservation.total
    if reservation.status == Status.CONFIRMED:
        counts = claims.SOLD_MS if reservation.due or is_free else 0
        in_vain = 0 if reservation.due or is_free else -1
    elif reservation.reason in UNPAID and reservation.held_at is not None:
        in_vain = max(int((reservation.changed_at - reservation.held_at).total_seconds() * 1000), 1)
    return Standing(
        reservation=reservation.pk,
        session=reservation.session_id,
        buyer=reservation.buyer,
        seats=reservation.seats,
        places=reservation.quantity,
        ticket_type=reservation.ticket_type_id,
        milliseconds=milliseconds,
        origin=reservation.origin,
        counts=counts,
        counts_for_buyer=not is_free,
        in_vain=in_vain,
    )
