"""Join a guest with an account when the guest signs in or registers.

From then on the account owns all that the guest asked for, holds and bought. See the notes in people.py.

Note [No way around a limit]
Joining may bring an account over a limit with the places that its guests hold and bought, each within the limit for
itself. Bought places stay. Held places are paid for only as far as the limit goes: the session's limit of today or,
where that was lowered since, the limit by which they were held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Sum

from realtime.models import Event
from reservations import people
from reservations.allocation import changes
from reservations.claims import claims, joined
from reservations.claims.claims import NoClaims
from reservations.models import JoinedGuest, Reservation, Status
from reservations.refusals import LimitReached
from sessions_app.models import TicketType

log = structlog.get_logger(__name__)


@transaction.atomic
def join(*, guest: UUID, account: UUID) -> bool:
    """Give the account all that the guest has, and all that will come of the guest's requests.

    Doing it again is harmless. Return False where the guest became another account before: then nothing changes.
    """
    people.lock_alone(guest)
    known, _is_new = JoinedGuest.objects.get_or_create(guest=guest, defaults={"account": account})
    if known.account != account:
        return False
    counted = changes.change_buyer(of=guest, to=account)
    transaction.on_commit(partial(_tell_redis, guest, account, counted))
    return True


def were_guests(people: Collection[UUID]) -> set[UUID]:
    """Return those of the people that a guest became."""
    return set(JoinedGuest.objects.filter(account__in=people).values_list("account", flat=True))


def require_room(reservation: Reservation, *, besides: Iterable[Reservation]) -> None:
    """Require that the account may pay for the reservation. Its session is locked. See Note [No way around a limit].

    `besides` are the reservations that are about to be paid for too. Raises: LimitReached.
    """
    has_stock = not reservation.seats
    kind = TicketType.objects.get(pk=reservation.ticket_type_id) if has_stock and reservation.ticket_type_id else None
    _require(reservation, "most", reservation.session.max_per_buyer, besides)
    if kind and kind.max_per_buyer:
        same = [one for one in besides if one.ticket_type_id == kind.pk and not one.seats]
        _require(reservation, "most_of_type", kind.max_per_buyer, same, ticket_type=kind.pk, seats=[])


def _require(
    reservation: Reservation, told: str, limit: int, besides: Iterable[Reservation], **of_kind: object
) -> None:
    rows = Reservation.objects.filter(session=reservation.session_id, buyer=reservation.buyer, **of_kind)
    paid = rows.filter(status__in=[Status.PAYING, Status.CONFIRMED]).exclude(pk=reservation.pk)
    places: int = paid.aggregate(places=Sum("quantity", default=0))["places"] + reservation.quantity
    places += sum(
        one.quantity for one in besides if (one.session_id, one.buyer) == (reservation.session_id, reservation.buyer)
    )
    if places > limit and places > (_held_by(reservation, told) or 0):
        raise LimitReached(limit)


def _held_by(reservation: Reservation, told: str) -> int | None:
    """Return the limit at the moment in which it was held."""
    events = Event.objects.filter(session=reservation.session_id, name="reservation.held")
    event = events.filter(facts__reservation=str(reservation.pk)).first()
    return event.facts.get(told) if event else None


def _tell_redis(guest: UUID, account: UUID, counted: claims.Counted) -> None:
    try:
        joined.join(guest=guest, account=account, counted=counted)
    except NoClaims as error:  # PostgreSQL knows; see Note [One person, two names]
        log.info("joining.without_redis", error=repr(error.__cause__))
