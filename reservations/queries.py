"""Reading reservations: in PostgreSQL, else in its inbox, else as Redis remembers the accepted request."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import math
import time
import uuid
from operator import attrgetter
from typing import Any

import msgspec
from django.db.models import QuerySet
from django.db.models.functions import Now

from base.clock import rfc3339
from reservations import orders, people
from reservations.claims import claims
from reservations.claims.claims import NoClaims
from reservations.hold_request import EPOCH_BITS, ORDER_SCOPE, HoldRequest
from reservations.models import FINAL, Reservation, Status
from reservations.queueing import inbox
from sessions_app.models import Session

YOUNG_SECONDS = 600  # an id this young that is found nowhere may still be on its way
CLOCKS_APART = 600  # seconds that the machines' clocks may differ: one ahead by five minutes, one behind
TOLD_AGAIN_FOR = dt.timedelta(minutes=10)  # an outcome, to whoever was away when it came
ENDED_AMONG = 50  # of the buyer's newest reservations
TELL_THE_END = frozenset({Status.HELD, Status.PAYING, Status.EXPIRED})


class NotYetKnown(Exception):
    """The id is young and found nowhere, and Redis is away or began anew since. Ask again soon; it is not gone."""


def reservation_body(reservation: Reservation) -> dict[str, Any]:
    """JSON-ready, as GET answers it; `sale` is the sale's id here."""
    return {
        "id": str(reservation.id),
        "status": reservation.status,
        "session": str(reservation.session_id),
        "seats": list(reservation.seats),
        "ticket_type": str(reservation.ticket_type_id) if reservation.ticket_type_id else None,
        "quantity": reservation.quantity,
        "arrival": reservation.arrival,
        "lines": reservation.lines,
        "total": {"amount": reservation.total, "currency": reservation.currency} if reservation.lines else None,
        "voucher": reservation.voucher.code if reservation.voucher_id and reservation.voucher else None,
        "lane": reservation.lane or None,
        "standby": reservation.place_on_standby,
        "expires_at": _end_of_hold(reservation),
        "extensions_left": extensions_left(reservation),
        "reason": reservation.reason or None,
        "conflicts": reservation.conflicts,
        "duplicate_of": str(reservation.duplicate_of) if reservation.duplicate_of else None,
        "sale": str(reservation.sale_id) if reservation.sale_id else None,
        "accepted_at": _utc(reservation.accepted_at),
    }


def queued_body(request: HoldRequest) -> dict[str, Any]:
    """The same shape for a request that still stands in the queue; the same for the same request, whenever it is asked for."""
    return {
        "id": str(request.id),
        "status": Status.QUEUED.value,
        "session": str(request.session),
        "seats": list(request.seats),
        "ticket_type": str(request.ticket_type) if request.ticket_type else None,
        "quantity": request.places,
        "arrival": request.arrival,
        "lines": [],
        "total": None,
        "voucher": request.voucher or None,
        "lane": request.lane or None,
        "standby": None,
        "expires_at": None,
        "extensions_left": 0,
        "reason": None,
        "conflicts": [],
        "duplicate_of": None,
        "sale": None,
    }


def extensions_left(reservation: Reservation) -> int:
    """How often more time may be asked for still; the last time may add less than the others. Nothing but a hold can be extended."""
    if reservation.status != Status.HELD or reservation.held_at is None or reservation.expires_at is None:
        return 0
    session = reservation.session
    left = reservation.held_at + dt.timedelta(seconds=session.max_hold_seconds) - reservation.expires_at
    return max(0, math.ceil(left.total_seconds() / session.hold_seconds))


def _end_of_hold(reservation: Reservation) -> str | None:
    return _utc(reservation.expires_at) if reservation.status in TELL_THE_END else None


def _utc(moment: dt.datetime | None) -> str | None:
    return rfc3339(moment) if moment else None


def find(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> dict[str, Any]:
    """The reservation's body; `buyer` None finds anybody's (staff).

    Raises: Reservation.DoesNotExist, NotYetKnown.
    """
    allocated = Reservation.objects.select_related("session", "voucher").filter(pk=reservation_id).first()
    if allocated is not None:
        if buyer is not None and allocated.buyer != buyer:
            raise Reservation.DoesNotExist
        return reservation_body(allocated)
    return queued_body(find_queued(reservation_id, buyer=buyer))


def find_queued(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> HoldRequest:
    """The request that waits, with the account as its buyer where a guest became one; `buyer` None: anybody's.

    Raises: Reservation.DoesNotExist, NotYetKnown.
    """
    request = _queued(reservation_id)
    request = msgspec.structs.replace(request, buyer=people.account_of(request.buyer))
    if buyer is not None and request.buyer != buyer:
        raise Reservation.DoesNotExist
    return request


def _queued(reservation_id: uuid.UUID) -> HoldRequest:
    """Raises: Reservation.DoesNotExist, NotYetKnown."""
    request = inbox.find(reservation_id)
    try:
        request = request or claims.asked(reservation_id)
    except NoClaims:
        request = None
    if request is not None:
        return request
    if is_young(reservation_id) and _may_be_on_its_way(reservation_id):
        raise NotYetKnown(str(reservation_id))
    raise Reservation.DoesNotExist


def _may_be_on_its_way(reservation_id: uuid.UUID) -> bool:
    """Whether Redis may have forgotten it, or it was allocated this instant."""
    try:
        forgotten = _made_at(reservation_id) < claims.remembers_since() + CLOCKS_APART
    except NoClaims:
        forgotten = True
    return forgotten or Reservation.objects.filter(pk=reservation_id).exists()


def is_young(identity: uuid.UUID) -> bool:
    """Whether a UUIDv7 was made in the last ten minutes."""
    return identity.version == 7 and -CLOCKS_APART < time.time() - _made_at(identity) < YOUNG_SECONDS


def _made_at(identity: uuid.UUID) -> float:
    """POSIX seconds, by a UUIDv7's own timestamp (RFC 9562, 5.7: 48 bits of milliseconds)."""
    return (identity.int >> 80) / 1000


def place_in_queue(*, session: uuid.UUID, arrival: int) -> int | None:
    """How many of its session's requests are to be allocated until this one is, itself included; None where that can't be told."""
    in_one_queue = Session.objects.filter(pk=session, lanes=None)
    allocated = in_one_queue.values_list("arrival_high", flat=True).first()
    if allocated is None or allocated >> EPOCH_BITS != arrival >> EPOCH_BITS:
        return None  # lanes take turns; or nothing of its epoch is allocated, and of older ones some may wait still
    return max(1, arrival - allocated)


def of_buyer(buyer: uuid.UUID | None = None) -> QuerySet[Reservation]:
    """Newest first; None: everybody's (staff)."""
    rows = Reservation.objects.select_related("session", "voucher").order_by("-id")
    return rows.filter(buyer=buyer) if buyer else rows


def orders_of(buyer: uuid.UUID | None = None) -> QuerySet[Reservation]:
    """Those that were asked for as orders, newest first; None: everybody's (staff)."""
    return of_buyer(buyer).filter(scope=ORDER_SCOPE)


def in_queue(buyer: uuid.UUID) -> list[HoldRequest]:
    """The buyer's requests that nobody allocated yet, newest first. While Redis is away those in RabbitMQ are known by their ids only."""
    names = people.names_of(buyer)
    waiting = {request.id: request for request in inbox.of_buyers(names)}
    with contextlib.suppress(NoClaims):
        asked = itertools.chain.from_iterable(map(claims.asked_by, names))
        waiting |= {request.id: request for request in asked if request.id not in waiting}
    if not waiting:
        return []
    allocated = set(Reservation.objects.filter(pk__in=waiting).values_list("pk", flat=True))
    return [waiting[name] for name in sorted(waiting.keys() - allocated, reverse=True)]


def first_messages(buyer: uuid.UUID) -> list[dict[str, Any]]:
    """What a buyer's socket sends first: each reservation and order that isn't final, and those that became it a moment ago.

    Oldest first. Those in the queue are read before the others, so that none is missed that is allocated meanwhile.
    """
    queued = in_queue(buyer)
    rows = {row.pk: row for row in [*_ended_just_now(buyer), *_unfinished(buyer)]}
    told: list[dict[str, Any]] = []
    for row in sorted(rows.values(), key=attrgetter("id")):
        told += [personal_message(row), *([orders.message(row)] if row.is_order else [])]
    for request in [request for request in reversed(queued) if request.id not in rows]:
        told.append({"type": "reservation:update", "id": str(request.id), "status": Status.QUEUED.value})
        told += [orders.message_in_queue(request)] if request.is_order else []
    return told


def _unfinished(buyer: uuid.UUID) -> QuerySet[Reservation]:
    rows = Reservation.objects.filter(buyer=buyer).exclude(status__in=FINAL)
    return rows.select_related("session").order_by("id")[:100]


def _ended_just_now(buyer: uuid.UUID) -> QuerySet[Reservation]:
    """Among the buyer's newest, by that index; however much somebody has bought, no more is looked at."""
    newest = Reservation.objects.filter(buyer=buyer).order_by("-id").values("pk")[:ENDED_AMONG]
    ended = Reservation.objects.filter(pk__in=newest, status__in=FINAL, changed_at__gt=Now() - TOLD_AGAIN_FOR)
    return ended.select_related("session")


def personal_message(reservation: Reservation) -> dict[str, Any]:
    optional = {
        "expires_at": _end_of_hold(reservation),
        "standby": reservation.place_on_standby,
        "reason": reservation.reason,
        "conflicts": reservation.conflicts,
        "sale": str(reservation.sale_id) if reservation.sale_id else None,
    }
    told = {name: value for name, value in optional.items() if value}
    return {"type": "reservation:update", "id": str(reservation.id), "status": reservation.status, **told}
