"""Change the catalogue: put sessions on sale, call them off, and keep the chairs of halls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Required, TypedDict, Unpack
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg.errors import ExclusionViolation

from base.clock import EARLIEST, LATEST, db_now
from base.refusals import Refused
from realtime import events
from sessions_app import plans
from sessions_app.models import (
    HIGHEST_FEE,
    MAX_SEATS,
    WHOLE,
    Concession,
    Hall,
    HallSeat,
    Pool,
    Seat,
    SeatStatus,
    Session,
    Show,
    TicketType,
    Venue,
)
from sessions_app.new_prices import (
    HIGHEST_PRICE,
    MAX_MINUTES,
    MAX_PER_BUYER,
    NewConcession,
    NewPool,
    NewTicketType,
    Tiers,
    clean,
    concessions_of,
    new_draws,
    new_pools,
    price_tiers,
    section_prices,
)

LONGEST_HOLD = 7200  # seconds
HOLD_BY_DEFAULT = 600  # of `max_hold_seconds`


class HallBusy(Refused, reason="hall_busy", status=409, title="The hall is busy"):
    """Another session, `clash`, uses the hall."""

    sentence = gettext_lazy("Another session uses that hall at that time.")

    def __init__(self, clash: Session | None) -> None:
        super().__init__(clash)
        self.clash = clash

    def facts(self) -> dict[str, object]:
        return {"session": str(self.clash.pk)} if self.clash else {}


class HasBuyers(Refused, reason="session_has_buyers", status=409, title="The session has buyers"):
    """Buyers hold or bought places of the session, and would be left without them if it was called off."""

    sentence = gettext_lazy("This seat is held or sold.")


REFUSALS: tuple[type[Refused], ...] = (HallBusy, HasBuyers)


class NewSession(TypedDict, total=False):
    """The facts of a session to create. Without hall and rows, it sells unnumbered places only."""

    show: Required[UUID | str]  # an id, or a title: the show of that title, created if there is none
    starts_at: Required[dt.datetime]
    price: int | None  # of a seat, in minor units
    prices: Mapping[str, int]  # likewise, by section of the hall
    currency: str
    hall: UUID | None  # its chairs become the seats
    room: str
    rows: int | None
    seats_per_row: int | None
    duration_minutes: int | None  # the show's own unless given
    hold_seconds: int
    max_hold_seconds: int
    refund_minutes: int | None  # minutes before the start, until which buyers may give tickets back; None: never
    max_per_buyer: int
    on_sale_at: dt.datetime | None
    ticket_types: Sequence[NewTicketType]
    concessions: Sequence[NewConcession]
    booking_fee: int  # minor units a ticket
    booking_fee_basis_points: int
    tax_basis_points: int
    pools: Sequence[NewPool]
    accounts_required: bool


@dataclass(frozen=True)
class Draft:
    """A session that may be created: everything about it is checked, except that its hall is free."""

    session: Session
    places: Sequence[plans.Place]
    tiers: Tiers
    concessions: Sequence[Concession]
    pools: Sequence[Pool]
    draws: Sequence[tuple[TicketType, Pool]]


@transaction.atomic
def create_session(**asked: Unpack[NewSession]) -> Session:
    """Put one showing on sale, with a seat for each chair of its hall or of `rows` by `seats_per_row`.

    Raises: ValidationError by field, HallBusy.
    """
    new = draft(**asked)
    if not Show.objects.filter(pk=new.session.show_id).exists():
        new.session.show.save()
    insert_session(new.session)
    TicketType.objects.bulk_create(new.tiers.all)
    Concession.objects.bulk_create(new.concessions)
    Pool.objects.bulk_create(new.pools)
    drawing = TicketType.pools.through
    drawing.objects.bulk_create(drawing(tickettype=kind, pool=pool) for kind, pool in new.draws)
    insert_seats(new)
    events.record(
        event="session.created",
        session=new.session.pk,
        facts={
            "show": new.session.show.title,
            "starts_at": new.session.starts_at.isoformat(),
            "seats": len(new.places),
            "stock": sum(tier.capacity or 0 for tier in new.tiers.all),
        },
    )
    return new.session


def draft(**asked: Unpack[NewSession]) -> Draft:
    """Check the facts of a new session; write nothing. Raises: ValidationError by field."""
    hold = asked.get("hold_seconds", 30)
    longest = asked.get("max_hold_seconds", max(hold, HOLD_BY_DEFAULT))
    check_numbers(
        price=(asked.get("price"), 0, HIGHEST_PRICE),
        rows=(asked.get("rows"), 1, MAX_SEATS),
        seats_per_row=(asked.get("seats_per_row"), 1, MAX_SEATS),
        duration_minutes=(asked.get("duration_minutes"), 1, MAX_MINUTES),
        hold_seconds=(hold, 1, 3600),
        max_hold_seconds=(longest, hold, LONGEST_HOLD),
        max_per_buyer=(asked.get("max_per_buyer", 10), 1, MAX_PER_BUYER),
        booking_fee=(asked.get("booking_fee", 0), 0, HIGHEST_FEE),
        booking_fee_basis_points=(asked.get("booking_fee_basis_points", 0), 0, WHOLE),
        tax_basis_points=(asked.get("tax_basis_points", 0), 0, WHOLE),
    )
    starts_at, on_sale_at = asked["starts_at"], asked.get("on_sale_at")
    check_times(starts_at=starts_at, on_sale_at=on_sale_at)
    show, hall = known_show(asked["show"]), known_hall(asked.get("hall"))
    session = Session(
        show=show,
        hall=hall,
        room=asked.get("room") or (hall.name if hall else ""),
        starts_at=starts_at,
        ends_at=starts_at + dt.timedelta(minutes=asked.get("duration_minutes") or show.duration_minutes),
        on_sale_at=on_sale_at,
        currency=asked.get("currency", "BRL"),
        hold_seconds=hold,
        max_hold_seconds=longest,
        refund_minutes=asked.get("refund_minutes", 60),
        max_per_buyer=asked.get("max_per_buyer", 10),
        booking_fee=asked.get("booking_fee", 0),
        booking_fee_basis_points=asked.get("booking_fee_basis_points", 0),
        tax_basis_points=asked.get("tax_basis_points", 0),
        accounts_required=asked.get("accounts_required", False),
    )
    session.clean_fields(exclude=["show", "hall"])
    places = plan(hall=hall, rows=asked.get("rows"), seats_per_row=asked.get("seats_per_row"))
    types = [*section_prices(places, asked.get("prices") or {}, asked.get("price")), *(asked.get("ticket_types") or [])]
    tiers = price_tiers(session=session, places=places, price=asked.get("price"), asked=types)
    pools = new_pools(session=session, asked=asked.get("pools") or [])
    session.free_seats = len(places)
    return Draft(
        session,
        places,
        tiers,
        concessions=concessions_of(session, asked.get("concessions") or []),
        pools=list(pools.values()),
        draws=new_draws(tiers, pools, types),
    )


def check_numbers(**bounds: tuple[int | None, int, int]) -> None:
    """Check each value against its lowest and highest. Raises: ValidationError for each name outside of them."""
    wrong = {
        name: _("Must be from %(lowest)d to %(highest)d.") % {"lowest": lowest, "highest": highest}
        for name, (value, lowest, highest) in bounds.items()
        if value is not None and not lowest <= value <= highest
    }
    if wrong:
        raise ValidationError(wrong)


def check_times(*, starts_at: dt.datetime, on_sale_at: dt.datetime | None) -> None:
    if not EARLIEST <= starts_at <= LATEST:
        raise ValidationError({"starts_at": _("Must be a date between 2000 and 2200.")})
    if on_sale_at is not None and not EARLIEST <= on_sale_at < starts_at:
        raise ValidationError({"on_sale_at": _("The sale must begin before the session starts.")})


def known_show(show: UUID | str) -> Show:
    if isinstance(show, UUID):
        found = Show.objects.filter(pk=show).first()
        if found is None:
            raise ValidationError({"show": _("There is no such show.")})
        return found
    found = Show.objects.filter(title=show).order_by("id").first()
    if found is None:
        found = Show(title=show)
        clean(found, "show")
    return found


def known_hall(hall: UUID | None) -> Hall | None:
    if hall is None:
        return None
    found = Hall.objects.filter(pk=hall).first()
    if found is None:
        raise ValidationError({"hall": _("There is no such hall.")})
    return found


def plan(*, hall: Hall | None, rows: int | None, seats_per_row: int | None) -> list[plans.Place]:
    """Return the chairs to sell; none where no place is numbered."""
    if hall is not None:
        if rows or seats_per_row:
            raise ValidationError({"rows": _("A hall has its own seats. Give either a hall or rows.")})
        return plans.of_chairs(list(hall.seats.order_by("position")))
    if rows is None and seats_per_row is None:
        return []
    if rows is None or seats_per_row is None:
        missing = "rows" if rows is None else "seats_per_row"
        raise ValidationError({missing: _("Give the rows and the seats per row together.")})
    if rows * seats_per_row > MAX_SEATS:
        raise ValidationError({"rows": _("A room has at most %(seats)d seats.") % {"seats": MAX_SEATS}})
    return plans.grid(rows=rows, seats_per_row=seats_per_row)


def insert_session(session: Session) -> None:
    """Insert the session; the exclusion constraint decides whether the hall is free. Raises: HallBusy."""
    try:
        with transaction.atomic():
            session.save(force_insert=True)
    except IntegrityError as error:
        if not isinstance(error.__cause__, ExclusionViolation):
            raise
        raise HallBusy(clash(session)) from error


def clash(session: Session) -> Session | None:
    """Return another session in its hall at that time, if there is one."""
    if session.hall_id is None:
        return None
    return (
        Session.objects.filter(hall_id=session.hall_id, cancelled_at__isnull=True)
        .filter(starts_at__lt=session.ends_at, ends_at__gt=session.starts_at)
        .exclude(pk=session.pk)
        .first()
    )


# One statement for all of them: 10,000 in a quarter of what `bulk_create` takes.
INSERT_SEATS = """
INSERT INTO sessions_app_seat
    (session_id, ticket_type_id, label, section, row, number, x, y, kind, position, status)
SELECT %s, new.*, 'f'
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::int[], %s::float[], %s::float[], %s::text[], %s::int[])
    AS new
"""


def insert_seats(new: Draft) -> None:
    if not new.places:
        return
    columns: list[Any] = [
        [new.tiers.of(place) for place in new.places],
        [place.label for place in new.places],
        [place.section for place in new.places],
        [place.row for place in new.places],
        [place.number for place in new.places],
        [float(place.x) for place in new.places],
        [float(place.y) for place in new.places],
        [str(place.kind) for place in new.places],
        list(range(len(new.places))),
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SEATS, [new.session.pk, *columns])


@transaction.atomic
def cancel_session(*, session_id: UUID, though_it_has_buyers: bool = False) -> Session:
    """Call a session off that has no buyers; its hall is free again.

    With `though_it_has_buyers`, the caller looks after their money. Raises: HasBuyers, Session.DoesNotExist.
    """
    # Each transaction that takes seats locks the session's row first, so none can take one during this check.
    session = Session.objects.select_for_update(no_key=True).get(pk=session_id)
    if session.cancelled_at is not None:
        return session
    taken = Seat.objects.of(session_id).filter(status__in=[SeatStatus.HELD, SeatStatus.SOLD])
    has_buyers = taken.exists() or session.ticket_types.filter(Q(available__lt=F("capacity"))).exists()
    if has_buyers and not though_it_has_buyers:
        raise HasBuyers
    session.cancelled_at = session.changed_at = db_now()
    session.sequence += 1
    session.save(update_fields=["cancelled_at", "changed_at", "sequence"])
    events.record(event="session.cancelled", session=session_id, facts={"show": session.show.title})
    return session


def note_renaming(*, session_id: UUID) -> None:
    """Tell calendars that a ticket type of the session has another name. Call it before the name is saved: this locks.

    A trigger does the same for the show's and the venue's names (0016_renaming_is_a_change).
    """
    Session.objects.filter(pk=session_id).update(sequence=F("sequence") + 1, changed_at=Now())


def furnish(*, hall: Hall, places: Sequence[plans.Place]) -> None:
    """Put the chairs of a plan into a hall that has none."""
    HallSeat.objects.bulk_create(
        HallSeat(
            hall=hall,
            position=position,
            label=place.label,
            section=place.section,
            row=place.row,
            number=place.number,
            x=place.x,
            y=place.y,
            kind=place.kind,
        )
        for position, place in enumerate(places)
    )


@transaction.atomic
def refurnish(*, hall_id: UUID, places: Sequence[plans.Place]) -> None:
    """Put other chairs into a hall. Sessions created before keep their seats. Raises: Hall.DoesNotExist."""
    # another plan waits, or both sets of chairs would stay
    hall = Hall.objects.select_for_update(no_key=True).get(pk=hall_id)
    hall.seats.all().delete()
    furnish(hall=hall, places=places)


@transaction.atomic
def open_hall(*, venue: Venue, name: str, places: Sequence[plans.Place]) -> Hall:
    """Create a hall with its chairs."""
    hall = Hall.objects.create(venue=venue, name=name)
    furnish(hall=hall, places=places)
    return hall
