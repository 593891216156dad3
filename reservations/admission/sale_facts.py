"""Keep a copy of each session's sale facts in this process, so that admission asks PostgreSQL nothing.

A copy is two seconds old at the most while PostgreSQL answers.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
import uuid
from collections.abc import Sequence
from functools import partial

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from base import parking
from base.bounded import Bounded
from base.clock import db_now
from reservations.allocation import statements
from reservations.claims.claims import StockLevel
from reservations.models import Voucher
from reservations.refusals import UnknownSession
from sessions_app import rules
from sessions_app.models import Concession, Lane, Pool, Seat, Session, TicketType

log = structlog.get_logger(__name__)

FRESH_SECONDS = 2.0
MOST_SECONDS = 2.0  # that a request waits for another's read
STALE_SECONDS = 600.0  # while PostgreSQL is away, admission uses facts up to this old


class FactsUnavailable(Exception):
    """PostgreSQL is away and this process has never read the session."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StockFacts:
    """The facts of a ticket type of unnumbered places, with its own rules.

    `levels` are the stock levels of the type and of each of its pools, as last read.
    """

    levels: tuple[StockLevel, ...]
    capacity: int = 0  # of the type, or of the smallest pool that it draws on
    holds: bool = True
    is_free: bool = False
    pay_at_door: bool = False
    sells_from: dt.datetime | None = None
    sells_until: dt.datetime | None = None
    max_per_order: int | None = None
    max_per_buyer: int | None = None
    collect_until: dt.datetime | None = None

    def is_closed_at(self, now: dt.datetime) -> bool:
        return rules.is_window_over(now, self.sells_until)

    def sells_at(self, now: dt.datetime) -> bool:
        return not self.is_closed_at(now) and rules.is_window_open(now, self.sells_from)

    def is_paid_at_door(self, now: dt.datetime) -> bool:
        """Tell whether it may still be sold without a payment."""
        return rules.is_paid_at_door(now, pay_at_door=self.pay_at_door, collect_until=self.collect_until)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SaleFacts:
    """The facts of a session's sale.

    `ahead` is the database's clock minus this machine's, in seconds; `lanes` are their codes and names.
    """

    session: uuid.UUID
    on_sale_at: dt.datetime | None
    starts_at: dt.datetime
    cancelled: bool
    hold_seconds: int
    max_per_buyer: int
    accounts_required: bool
    plan_version: int
    labels: frozenset[str]
    ticket_types: frozenset[uuid.UUID]
    stock: dict[uuid.UUID, StockFacts]
    currency: str
    concessions: tuple[Concession, ...]
    lanes: tuple[tuple[str, str], ...]
    standby: bool
    admission_rate: int | None
    ahead: float
    read_at: float

    def is_closed_at(self, now: dt.datetime) -> bool:
        return rules.is_session_closed(now, starts_at=self.starts_at, is_called_off=self.cancelled)

    def sells_at(self, now: dt.datetime) -> bool:
        return not self.is_closed_at(now) and rules.is_window_open(now, self.on_sale_at)

    def lane_of(self, code: str) -> str | None:
        """Return the name of the code's lane."""
        return rules.lane_by_code(code, self.lanes)

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.ahead)

    def capacity_of(self, ticket_type: uuid.UUID | None) -> int:
        """Return how many places the type has; for None, how many seats the session has."""
        return self.stock[ticket_type].capacity if ticket_type in self.stock else len(self.labels)

    def opens_at(self, ticket_type: uuid.UUID | None) -> dt.datetime | None:
        """Return when the sale of the type begins, or of the session where the type has no time; None: it has begun."""
        own = self.stock[ticket_type].sells_from if ticket_type in self.stock else None
        return max((moment for moment in (self.on_sale_at, own) if moment), default=None)


_known: Bounded[uuid.UUID, SaleFacts] = Bounded(2_000)
_sessions_of_types: Bounded[uuid.UUID, uuid.UUID] = Bounded(20_000)
_reading: dict[uuid.UUID, threading.Lock] = {}  # sessions that a thread is reading at this moment
_guard = threading.Lock()
_asking_for_types = threading.Lock()
_vouchers: Bounded[str, tuple[Voucher | None, float]] = Bounded(2_000)
_asking_for_vouchers = threading.Lock()


def facts_of(session: uuid.UUID, *, max_age: float = FRESH_SECONDS) -> SaleFacts:
    """Return facts read at most `max_age` seconds ago, while PostgreSQL answers.

    Raises: UnknownSession, FactsUnavailable.
    """
    known = _known.get(session)
    age = time.monotonic() - known.read_at if known else STALE_SECONDS
    if known and age < max_age:
        return known
    with _guard:
        lock = _reading.setdefault(session, threading.Lock())
    if known and lock.locked():
        return known
    return parking.aside(partial(_read_once, session, known, lock, max_age))


def _read_once(session: uuid.UUID, known: SaleFacts | None, lock: threading.Lock, max_age: float) -> SaleFacts:
    """Read the facts anew unless another thread reads them; give the connection back if this thread is a helper."""
    if not lock.acquire(timeout=MOST_SECONDS if known is None else 0):
        if known is None:  # PostgreSQL is slow or silent
            raise FactsUnavailable(str(session))
        return known
    try:
        return _refresh(session, max_age)
    finally:
        lock.release()
        _reading.pop(session, None)  # threads that wait hold the lock; at worst two read the same
        if not connection.in_atomic_block:
            connection.close()  # back to the pool


def _refresh(session: uuid.UUID, max_age: float) -> SaleFacts:
    known = _known.get(session)
    if known and time.monotonic() - known.read_at < max_age:
        return known
    try:
        facts = _read(session, known)
    except DatabaseError as error:
        if known is None or time.monotonic() - known.read_at > STALE_SECONDS:
            raise FactsUnavailable(str(session)) from error
        log.warning("sale_facts.stale", session=str(session), error=repr(error))
        facts = known
    if facts is None:
        _known.pop(session, None)
        raise UnknownSession(str(session))
    _known[session] = facts
    return facts


def _read(session: uuid.UUID, known: SaleFacts | None) -> SaleFacts | None:
    asked_at = dt.datetime.now(dt.UTC)
    row = Session.objects.filter(pk=session).first()
    if row is None:
        return None
    ahead = (db_now() - asked_at).total_seconds()
    types = list(TicketType.objects.filter(session_id=session))
    if known and known.plan_version == row.plan_version:
        labels = known.labels
    else:
        labels = frozenset(Seat.objects.filter(session_id=session).values_list("label", flat=True))
    return SaleFacts(
        session=session,
        on_sale_at=row.on_sale_at,
        starts_at=row.starts_at,
        cancelled=row.cancelled_at is not None,
        hold_seconds=row.hold_seconds,
        max_per_buyer=row.max_per_buyer,
        accounts_required=row.accounts_required,
        plan_version=row.plan_version,
        labels=labels,
        ticket_types=frozenset(kind.pk for kind in types),
        stock=_stock(row, [kind for kind in types if kind.capacity is not None]),
        currency=row.currency,
        concessions=tuple(Concession.objects.filter(session_id=session)),
        standby=row.standby,
        admission_rate=row.admission_rate,
        lanes=tuple(Lane.objects.filter(session_id=session).values_list("code", "name")),
        ahead=ahead,
        read_at=time.monotonic(),
    )


def _stock(session: Session, types: Sequence[TicketType]) -> dict[uuid.UUID, StockFacts]:
    if not types:
        return {}
    draws = statements.draws(session=session.pk)
    pools = {pool.pk: pool for pool in Pool.objects.filter(session=session)} if any(draws.values()) else {}
    return {
        kind.pk: StockFacts(
            levels=(
                StockLevel(kind.pk, kind.stock_version, kind.available or 0),
                *(
                    StockLevel(pool, pools[pool].version, pools[pool].available)
                    for pool in draws.get(kind.pk, ())
                    if pool in pools
                ),
            ),
            capacity=min(
                [kind.capacity or 0, *(pools[pool].capacity for pool in draws.get(kind.pk, ()) if pool in pools)]
            ),
            holds=kind.holds,
            is_free=kind.is_free,
            pay_at_door=kind.pay_at_door,
            sells_from=kind.sells_from,
            sells_until=kind.sells_until,
            max_per_order=kind.max_per_order,
            max_per_buyer=kind.max_per_buyer,
            collect_until=kind.collect_until(session),
        )
        for kind in types
    }


def session_of(ticket_type: uuid.UUID) -> uuid.UUID | None:
    """Return the session that sells the type; each process asks PostgreSQL once. Raises: FactsUnavailable."""
    if ticket_type in _sessions_of_types:
        return _sessions_of_types[ticket_type]
    if not _asking_for_types.acquire(timeout=MOST_SECONDS):  # one thread asks for all that came with it
        raise FactsUnavailable(str(ticket_type))
    try:
        if ticket_type not in _sessions_of_types:
            found = _session_of(ticket_type)
            if found is None:
                return None
            _sessions_of_types[ticket_type] = found
    finally:
        _asking_for_types.release()
    return _sessions_of_types[ticket_type]


def _session_of(ticket_type: uuid.UUID) -> uuid.UUID | None:
    try:
        return TicketType.objects.filter(pk=ticket_type).values_list("session_id", flat=True).first()
    except DatabaseError as error:
        raise FactsUnavailable from error
    finally:
        connection.close()  # back to the pool: a thread that waits must not keep it from admission


def voucher_of(code: str, *, max_age: float = FRESH_SECONDS) -> Voucher | None:
    """Return the voucher as it was at most `max_age` seconds ago; None: it doesn't exist. Raises: FactsUnavailable."""
    known = _vouchers.get(code)
    if known and time.monotonic() - known[1] < max_age:
        return known[0]
    if not _asking_for_vouchers.acquire(timeout=MOST_SECONDS):  # one thread asks for all that came with it
        raise FactsUnavailable(code)
    try:
        known = _vouchers.get(code)
        if known is None or time.monotonic() - known[1] >= max_age:
            known = _vouchers[code] = _voucher(code), time.monotonic()
    finally:
        _asking_for_vouchers.release()
    return known[0]


def _voucher(code: str) -> Voucher | None:
    try:
        return Voucher.objects.filter(code=code).first()
    except DatabaseError as error:
        raise FactsUnavailable(code) from error
    finally:
        connection.close()  # back to the pool


def forget() -> None:
    """Drop every copy (tests, and after a restore)."""
    _known.clear()
    _sessions_of_types.clear()
    _vouchers.clear()
    _reading.clear()
