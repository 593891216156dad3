"""Read reservations: from PostgreSQL, else from its inbox, else from the accepted request in Redis."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import math
import time
import uuid
from operator import attrgetter

import msgspec
from django.db.models import QuerySet
from django.db.models.functions import Now

from base.clock import rfc3339
from reservations import orders, people
from reservations.bodies import PersonalMessage, ReservationBody, ReservationMessage
from reservations.claims import claims
from reservations.claims.claims import NoClaims
from reservations.hold_request import EPOCH_BITS, ORDER_SCOPE, HoldRequest
from reservations.models import FINAL, Reservation, Status
from reservations.queueing import inbox
from sessions_app.models import Session

YOUNG_SECONDS = 600  # an id this young that is found nowhere may still be on its way
CLOCKS_APART = 600  # seconds that the machines' clocks may differ: one ahead by five minutes, one behind
# an outcome is sent again for this long, to a buyer who was away when it came
TOLD_AGAIN_FOR = dt.timedelta(minutes=10)
ENDED_AMONG = 50  # of the buyer's newest reservations
TELL_THE_END = frozenset({Status.HELD, Status.PAYING, Status.EXPIRED})


class NotYetKnown(Exception):
    """The id is young and found nowhere, and Redis is away or was emptied since. Ask again soon; it is not gone."""


def reservation_body(reservation: Reservation) -> ReservationBody:
    """Return the body as GET answers it, ready for JSON; `sale` is the sale's id here."""
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


def queued_body(request: HoldRequest) -> ReservationBody:
    """Return the same shape for a request in the queue; it is the same for the same request at any time."""
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
    """Return how often the hold can still be extended; the last extension may add less time than the others."""
    if reservation.status != Status.HELD or reservation.held_at is None or reservation.expires_at is None:
        return 0
    session = reservation.session
    left = reservation.held_at + dt.timedelta(seconds=session.max_hold_seconds) - reservation.expires_at
    return max(0, math.ceil(left.total_seconds() / session.hold_seconds))


def _end_of_hold(reservation: Reservation) -> str | None:
    return _utc(reservation.expires_at) if reservation.status in TELL_THE_END else None


def _utc(moment: dt.datetime | None) -> str | None:
    return rfc3339(moment) if moment else None


def find(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> ReservationBody:
    """Return the reservation's body; `buyer` None finds any buyer's (staff).

    Raises: Reservation.DoesNotExist, NotYetKnown.
    """
    allocated = Reservation.objects.select_related("session", "voucher").filter(pk=reservation_id).first()
    if allocated is not None:
        if buyer is not None and allocated.buyer != buyer:
            raise Reservation.DoesNotExist
        return reservation_body(allocated)
    return queued_body(find_queued(reservation_id, buyer=buyer))


def find_queued(reservation_id: uuid.UUID, *, buyer: uuid.UUID | None) -> HoldRequest:
    """Return the request that waits, with the account as its buyer where a guest became one.

    `buyer` None finds any buyer's. Raises: Reservation.DoesNotExist, NotYetKnown.
    """
    request = _queued(reservation_id)
    request = msgspec.structs.replace(request, buyer=people.account_of(request.buyer))
    if buyer is not None and request.buyer != buyer:
        raise Reservation.DoesNotExist
    return request


def _queued(reservation_id: uuid.UUID) -> HoldRequest:
    """Return the request from the inbox or from Redis. Raises: Reservation.DoesNotExist, NotYetKnown."""
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
    """Tell whether Redis may have forgotten it, or it was allocated this instant."""
    try:
        forgotten = _made_at(reservation_id) < claims.remembers_since() + CLOCKS_APART
    except NoClaims:
        forgotten = True
    return forgotten or Reservation.objects.filter(pk=reservation_id).exists()


def is_young(identity: uuid.UUID) -> bool:
    """Tell whether a UUIDv7 was made in the last ten minutes."""
    return identity.version == 7 and -CLOCKS_APART < time.time() - _made_at(identity) < YOUNG_SECONDS


def _made_at(identity: uuid.UUID) -> float:
    """Return the POSIX seconds of a UUIDv7's own timestamp (RFC 9562, 5.7: 48 bits of milliseconds)."""
    return (identity.int >> 80) / 1000


def place_in_queue(*, session: uuid.UUID, arrival: int) -> int | None:
    """Return how many of its session's requests are left until this one is allocated, itself included.

    Return None where that can't be told.
    """
    in_one_queue = Session.objects.filter(pk=session, lanes=None)
    allocated = in_one_queue.values_list("arrival_high", flat=True).first()
    if allocated is None or allocated >> EPOCH_BITS != arrival >> EPOCH_BITS:
        # lanes take turns; or no request of its epoch is allocated, and some of older epochs may still wait
        return None
    return max(1, arrival - allocated)


def of_buyer(buyer: uuid.UUID | None = None) -> QuerySet[Reservation]:
    """Return the buyer's reservations, newest first; None: those of all buyers (staff)."""
    rows = Reservation.objects.select_related("session", "voucher").order_by("-id")
    return rows.filter(buyer=buyer) if buyer else rows


def orders_of(buyer: uuid.UUID | None = None) -> QuerySet[Reservation]:
    """Return the buyer's orders, newest first; None: those of all buyers (staff)."""
    return of_buyer(buyer).filter(scope=ORDER_SCOPE)


def in_queue(buyer: uuid.UUID) -> list[HoldRequest]:
    """Return the buyer's requests that aren't allocated yet, newest first.

    While Redis is away, the requests in RabbitMQ can't be listed.
    """
    names = people.names_of(buyer)
    waiting = {request.id: request for request in inbox.of_buyers(names)}
    with contextlib.suppress(NoClaims):
        asked = itertools.chain.from_iterable(map(claims.asked_by, names))
        waiting |= {request.id: request for request in asked if request.id not in waiting}
    if not waiting:
        return []
    allocated = set(Reservation.objects.filter(pk__in=waiting).values_list("pk", flat=True))
    return [waiting[name] for name in sorted(waiting.keys() - allocated, reverse=True)]


def first_messages(buyer: uuid.UUID) -> list[PersonalMessage]:
    """Return the first messages of a buyer's socket: all that is open, and all that ended a moment ago.

    They come oldest first. The requests in the queue are read before the others, so that none is missed that is
    allocated meanwhile.
    """
    queued = in_queue(buyer)
    rows = {row.pk: row for row in [*_ended_just_now(buyer), *_unfinished(buyer)]}
    told: list[PersonalMessage] = []
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
    """Return those that ended just now among the buyer's newest, by that index: a large history costs no more."""
    newest = Reservation.objects.filter(buyer=buyer).order_by("-id").values("pk")[:ENDED_AMONG]
    ended = Reservation.objects.filter(pk__in=newest, status__in=FINAL, changed_at__gt=Now() - TOLD_AGAIN_FOR)
    return ended.select_related("session")


def personal_message(reservation: Reservation) -> ReservationMessage:
    told: ReservationMessage = {
        "type": "reservation:update",
        "id": str(reservation.id),
        "status": reservation.status,
    }
    if end := _end_of_hold(reservation):
        told["expires_at"] = end
    if standby := reservation.place_on_standby:
        told["standby"] = standby
    if reservation.reason:
        told["reason"] = reservation.reason
    if reservation.conflicts:
        told["conflicts"] = reservation.conflicts
    if reservation.sale_id:
        told["sale"] = str(reservation.sale_id)
    return told
