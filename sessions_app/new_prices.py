"""Check and build the ticket types, concessions and pools of a new session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from base.clock import EARLIEST, LATEST
from sessions_app import plans
from sessions_app.models import (
    Concession,
    Pool,
    Session,
    Show,
    TicketType,
)

HIGHEST_PRICE = 1_000_000_000  # minor units of one place
MAX_PLACES = 10_000_000  # without a number, of one ticket type
MAX_TICKET_TYPES = 50
MAX_CONCESSIONS = 50
MAX_PER_BUYER = 1000
MAX_MINUTES = 24 * 60
STANDARD = gettext_lazy("Standard")


@dataclass(frozen=True, kw_only=True)
class NewPool:
    name: str
    capacity: int


@dataclass(frozen=True, kw_only=True)
class NewTicketType:
    """A ticket type to create.

    With `capacity`, it is a stock of unnumbered places, which may also draw on `pools`, by their names, and have rules
    of its own. Without, it is the price of the section of that name.
    """

    name: str
    price: int | None = None  # minor units; None: the session's price
    capacity: int | None = None
    pools: Sequence[str] = ()
    sells_from: dt.datetime | None = None
    sells_until: dt.datetime | None = None
    max_per_order: int | None = None
    max_per_buyer: int | None = None
    holds: bool = True
    pay_at_door: bool = False
    collect_minutes: int | None = None  # before the start


@dataclass(frozen=True, kw_only=True)
class NewConcession:
    """A concession to create: either a share off a place's own price, or a price of its own."""

    name: str
    percent_off: int | None = None
    price: int | None = None  # minor units
    note: str = ""  # the proof to show at the door


@dataclass(frozen=True)
class Tiers:
    """The ticket types of a new session, with the type that prices each seat."""

    standard: TicketType | None = None  # of seats whose section has none of its own
    of_section: Mapping[str, TicketType] = field(default_factory=dict)
    all: Sequence[TicketType] = ()

    def of(self, place: plans.Place) -> UUID:
        tier = self.of_section.get(place.section, self.standard)
        assert tier is not None
        return tier.pk


def section_prices(places: Sequence[plans.Place], prices: Mapping[str, int], price: int | None) -> list[NewTicketType]:
    """Return a ticket type for each section that has a price of its own. Raises: ValidationError."""
    if not prices:
        return []
    sections = sorted({place.section for place in places})
    require_sections("prices", prices, sections)
    require_few("prices", len(prices))
    if price is None and (missing := sorted(set(sections) - prices.keys())):
        raise ValidationError({"prices": _("“%(name)s” needs a price.") % {"name": missing[0]}})
    return [NewTicketType(name=section, price=amount) for section, amount in prices.items()]


def require_sections(field: str, names: Iterable[str], sections: Sequence[str]) -> None:
    """Require sections of the hall. Raises: ValidationError, for the first name that is none."""
    for name in names:
        if name not in sections:
            known = ", ".join(f"“{section}”" for section in sections if section)
            said = {"name": name, "sections": known or _("none")}
            raise ValidationError({field: _("There is no section “%(name)s”; the hall has: %(sections)s.") % said})


def require_few(field: str, types: int) -> None:
    """Require no more prices than the map can tell apart (`tier_looks`). Raises: ValidationError."""
    if types > MAX_TICKET_TYPES:
        too_many = _(
            "There can be at most %(most)d ticket types, not %(types)d. Each section with its own price counts as one."
        )
        raise ValidationError({field: too_many % {"most": MAX_TICKET_TYPES, "types": types}})


def price_tiers(
    *, session: Session, places: Sequence[plans.Place], price: int | None, asked: Sequence[NewTicketType]
) -> Tiers:
    """Return the session's ticket types: those that were asked for, and the standard price of its seats.

    Raises: ValidationError.
    """
    require_few("ticket_types", len(asked))
    made = [ticket_type(session=session, new=new, price=price, position=index) for index, new in enumerate(asked, 1)]
    if len({tier.name for tier in made}) < len(made):
        raise ValidationError({"ticket_types": _("Each ticket type needs a name of its own.")})
    unstocked = [tier for tier in made if tier.capacity is None]
    if not places:
        if unstocked or not made:
            raise ValidationError(
                {"ticket_types": _("A session without seats needs ticket types, each with a capacity.")}
            )
        return Tiers(all=made)
    of_section = {tier.name: tier for tier in unstocked}
    priced = unstocked if price is not None else unstocked[1:]  # without `price`, the first one prices all other seats
    require_sections("ticket_types", [tier.name for tier in priced], sorted({place.section for place in places}))
    if price is None:
        if not unstocked:
            raise ValidationError({"price": _("Seats need a price.")})
        return Tiers(standard=unstocked[0], of_section=of_section, all=made)
    standard = TicketType(session=session, name=str(STANDARD), price=price)
    if any(tier.name == standard.name for tier in made):
        taken = _("“%(name)s” is already the name of the price for seats.") % {"name": standard.name}
        raise ValidationError({"ticket_types": taken})
    return Tiers(standard=standard, of_section=of_section, all=[standard, *made])


def ticket_type(*, session: Session, new: NewTicketType, price: int | None, position: int) -> TicketType:
    cost = price if new.price is None else new.price
    if cost is None or not 0 <= cost <= HIGHEST_PRICE:
        raise ValidationError({"ticket_types": _("“%(name)s” needs a price.") % {"name": new.name}})
    if new.capacity is not None and not 0 <= new.capacity <= MAX_PLACES:
        raise ValidationError({"ticket_types": _("“%(name)s” has too many places.") % {"name": new.name}})
    check_rules(new)
    made = TicketType(
        session=session,
        name=new.name,
        price=cost,
        capacity=new.capacity,
        available=new.capacity,
        position=position,
        sells_from=new.sells_from,
        sells_until=new.sells_until,
        max_per_order=new.max_per_order,
        max_per_buyer=new.max_per_buyer,
        holds=new.holds,
        pay_at_door=new.pay_at_door,
        collect_minutes=new.collect_minutes,
    )
    clean(made, "ticket_types")
    return made


def concessions_of(session: Session, asked: Sequence[NewConcession]) -> list[Concession]:
    """Return the concessions to create. Raises: ValidationError."""
    if len(asked) > MAX_CONCESSIONS:
        too_many = _("At most %(number)d concessions.") % {"number": MAX_CONCESSIONS}
        raise ValidationError({"concessions": too_many})
    made = [
        Concession(
            session=session,
            name=new.name,
            percent_off=new.percent_off,
            price=new.price,
            note=new.note,
            position=position,
        )
        for position, new in enumerate(asked, 1)
    ]
    if len({one.name.casefold() for one in made}) < len(made):
        raise ValidationError({"concessions": _("Each concession needs a name of its own.")})
    for one in made:
        if (one.percent_off is None) == (one.price is None):
            text = _("“%(name)s” needs either a percentage or a price.") % {"name": one.name}
            raise ValidationError({"concessions": text})
        clean(one, "concessions")
    return made


def check_rules(new: NewTicketType) -> None:
    """Check the rules of a ticket type. Raises: ValidationError."""
    own = (
        new.pools,
        new.sells_from,
        new.sells_until,
        new.max_per_order,
        new.max_per_buyer,
        not new.holds,
        new.pay_at_door,
    )
    if new.capacity is None and any(own):
        text = _("“%(name)s” has no capacity. Only unnumbered places can have pools and rules of their own.")
        raise ValidationError({"ticket_types": text % {"name": new.name}})
    if new.collect_minutes is not None and not new.pay_at_door:
        text = _("“%(name)s” is not paid at the door, so it cannot have a deadline for collecting.")
        raise ValidationError({"ticket_types": text % {"name": new.name}})
    for moment in (new.sells_from, new.sells_until):
        if moment is not None and not EARLIEST <= moment <= LATEST:
            raise ValidationError(
                {"ticket_types": _("“%(name)s” cannot be on sale at that time.") % {"name": new.name}}
            )
    if new.sells_from and new.sells_until and new.sells_from >= new.sells_until:
        text = _("The sale of “%(name)s” must end after it begins.")
        raise ValidationError({"ticket_types": text % {"name": new.name}})
    for most in (new.max_per_order, new.max_per_buyer):
        if most is not None and not 1 <= most <= MAX_PER_BUYER:
            text = _("The limits of “%(name)s” must be from 1 to %(highest)d.")
            raise ValidationError({"ticket_types": text % {"name": new.name, "highest": MAX_PER_BUYER}})


def new_pools(*, session: Session, asked: Sequence[NewPool]) -> dict[str, Pool]:
    """Return the pools to create, by name. Raises: ValidationError."""
    if len(asked) > MAX_TICKET_TYPES:
        raise ValidationError({"pools": _("At most %(pools)d pools.") % {"pools": MAX_TICKET_TYPES}})
    pools = {}
    for new in asked:
        if new.name in pools:
            raise ValidationError({"pools": _("Each pool needs a name of its own.")})
        if not 0 <= new.capacity <= MAX_PLACES:
            raise ValidationError({"pools": _("“%(name)s” has too many places.") % {"name": new.name}})
        pools[new.name] = Pool(session=session, name=new.name, capacity=new.capacity, available=new.capacity)
        clean(pools[new.name], "pools")
    return pools


def new_draws(tiers: Tiers, pools: Mapping[str, Pool], asked: Sequence[NewTicketType]) -> list[tuple[TicketType, Pool]]:
    """Return which type draws on which pool. Raises: ValidationError."""
    kinds = {kind.name: kind for kind in tiers.all}
    for new in asked:
        for unknown in set(new.pools) - pools.keys():
            text = _("“%(name)s” takes places from “%(pool)s”, but there is no such pool.")
            raise ValidationError({"ticket_types": text % {"name": new.name, "pool": unknown}})
    return [(kinds[new.name], pools[name]) for new in asked for name in dict.fromkeys(new.pools)]


def clean(row: Show | TicketType | Concession | Pool, field: str) -> None:
    """Validate the row's fields. Raises: ValidationError of `field`, the caller's name for the whole row."""
    try:
        row.clean_fields(exclude=["session"])
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
