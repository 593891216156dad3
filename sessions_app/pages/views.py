"""Show the catalogue's pages: the programme, and one session with its seats."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import formats
from django.utils.dateparse import parse_date
from django.utils.translation import gettext
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from base.clock import reckoned_now
from base.ids import uuid7
from sessions_app import queries
from sessions_app.models import Concession, Session, TicketType
from sessions_app.pages import programme, seat_plan
from sessions_app.pages.copied import copied, is_shared
from sessions_app.pages.programme import Wanted
from sessions_app.pages.tier_looks import legend, looks_of
from sessions_app.pages.visitors import Visitor, asked_anew
from sessions_app.templatetags.frontrow import money

LONGEST_CHOICE = 20  # places that a list offers to choose from
FEW = 10  # places left from which on the page says that they are the last


@require_safe
@copied("whats_on", takes=lambda query: query.keys() <= {"day", "venue"})
@asked_anew
def whats_on(request: HttpRequest) -> HttpResponse:
    asked = wanted(request.GET)
    days = programme.days(asked)
    if asked.day is None and days and not asked.search:
        asked = dataclasses.replace(asked, day=days[0])
    return render(
        request,
        "sessions_app/whats_on.html",
        {
            "wanted": asked,
            "days": days,
            "programme": programme.programme(asked),
            "venues": queries.venues(),
            "page": "whats-on",
            "shared": is_shared(request),
        },
    )


def wanted(asked: Mapping[str, str]) -> Wanted:
    """Read the visitor's search; ignore values that can't be read."""
    return Wanted(
        search=asked.get("q", "").replace("\0", "").strip()[:100],
        venue=_uuid(asked.get("venue", "")),
        day=_day(asked.get("day", "")),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str) -> dt.date | None:
    try:
        return parse_date(text)
    except ValueError:
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shelf:
    """Unnumbered places on offer.

    `most` is how many a buyer may ask for now, `limit` how many one order may have at all. With `standby`, an order for
    more than is left waits.
    """

    pk: UUID
    name: str
    price: int
    fee: int
    left: int
    limit: int
    holds: bool
    opens_at: dt.datetime | None
    ended_at: dt.datetime | None
    closes_at: dt.datetime | None
    standby: bool
    pay_at_door: bool
    collect_until: dt.datetime | None

    @classmethod
    def of(cls, kind: Any, session: Session, *, now: dt.datetime) -> Self:
        """Return the offer of a ticket type with its `places_left`."""
        limits = [kind.max_per_order, kind.max_per_buyer, session.max_per_buyer]
        opens, closes = kind.sells_from, kind.sells_until
        return cls(
            pk=kind.pk,
            name=kind.name,
            price=kind.price,
            fee=session.fee_of(kind.price),
            holds=kind.holds,
            left=kind.places_left,
            limit=min(limit for limit in limits if limit is not None),
            opens_at=opens if opens and opens > now else None,
            ended_at=closes if closes and closes <= now else None,
            closes_at=closes if closes and closes > now else None,
            standby=session.standby,
            pay_at_door=kind.is_paid_at_door(session, now=now),
            collect_until=kind.collect_until(session),
        )

    @property
    def most(self) -> int:
        if self.opens_at or self.ended_at:
            return 0
        return self.limit if self.standby else min(self.left, self.limit)


@require_safe
@copied("session", takes=lambda query: not query)
@asked_anew
@ensure_csrf_cookie
@gzip_page
def session(request: Visitor, session_id: UUID) -> HttpResponse:
    if not is_shared(request):
        request.ensure_buyer()
    try:
        found = queries.find(session_id)
    except Session.DoesNotExist:
        raise Http404 from None
    seat_map = queries.seat_map(session_id)
    types = list(queries.ticket_types().filter(session=session_id))
    tiers = {str(type_.pk): type_ for type_ in types}
    looks = looks_of(tiers, seat_map["seats"])
    prices = price_words(found, tiers, looks)
    now = reckoned_now()
    shelves = [Shelf.of(type_, found, now=now) for type_ in types if type_.capacity is not None]
    lane = queries.lane_of(found, request.GET.get("lane", ""))
    seats = [] if is_shared(request) else seat_map["seats"]  # boxes to tick are for a browser without scripts
    sections = seat_plan.sections(seats, prices=prices, shown=request.GET.get("section"))
    return render(
        request,
        "sessions_app/session.html",
        {
            "session": found,
            "plan": seat_plan.draw(seat_map["seats"], prices=prices) if seat_map["seats"] else None,
            "tiers": [tiers[key] for key in looks],
            "legend": legend(tiers, looks),
            "stock": shelves,
            "at_the_door": any(shelf.pay_at_door for shelf in shelves),
            "may_hold": any(shelf.holds for shelf in shelves),
            "alone": not seat_map["seats"] and len(shelves) == 1,
            "FEW": FEW,
            "sections": sections,
            "some_rows": any(section.rows for section in sections),
            "wanted": set(request.GET.getlist("seat")),
            "form_key": uuid7().hex,
            "lane": lane,
            "lane_asked": "lane" in request.GET,
            "quantities": range(1, min(found.max_per_buyer, LONGEST_CHOICE) + 1),
            "kinds": sorted({seat["kind"] for seat in seat_map["seats"]} - {"standard"}),
            "concessions": concession_choices(found),
            "fee": fee_in_words(found),
            "closed": found.is_closed_at(now),
            "opens_later": not found.sells_at(now),
            "data": {
                **session_data(found, types, looks, version=seat_map["version"]),
                "lane_code": lane.code if lane else "",
            },
            "page": "session",
            "shared": is_shared(request),
        },
    )


def price_words(found: Session, types: Mapping[str, TicketType], looks: Mapping[str, int]) -> dict[str, str]:
    """Return the price of a seat of each type in words, as seat-map.js does.

    The type's name goes with it where seats have several prices.
    """
    named = len(set(looks.values())) > 1
    return {
        key: f"{kind.name} {money(kind.price, found.currency)}" if named else money(kind.price, found.currency)
        for key, kind in types.items()
    }


def session_data(
    found: Session, types: list[TicketType], looks: Mapping[str, int], *, version: int
) -> dict[str, object]:
    """Return the data that the page's script starts from; `looks` are those of the prices that have seats."""
    return {
        "id": str(found.pk),
        "version": version,
        "most": found.max_per_buyer,
        "few": FEW,
        "on_sale_at": found.on_sale_at.isoformat() if found.on_sale_at else None,
        "closed": found.is_closed_at(reckoned_now()),
        "types": [
            {
                "id": str(type_.pk),
                "name": type_.name,
                "price": {"amount": type_.price, "currency": found.currency},
                "fee": found.fee_of(type_.price),
                "look": looks.get(str(type_.pk)),
            }
            for type_ in types
        ],
    }


def concession_choices(found: Session) -> list[dict[str, str]]:
    """Return the concessions and their prices in words, for the page and its script."""
    return [
        {"id": str(one.pk), "name": one.name, "note": one.note, "label": f"{one.name} ({_off(one, found.currency)})"}
        for one in found.concessions.all()
    ]


def _off(concession: Concession, currency: str) -> str:
    if concession.price is not None:
        return money(concession.price, currency)
    return gettext("%(percent)d%% off") % {"percent": concession.percent_off}


def fee_in_words(found: Session) -> str:
    """Return the fee, like “R$1.50 + 7.5%”; empty without one."""
    share = formats.number_format(found.booking_fee_basis_points / 100, use_l10n=True)
    parts = [
        money(found.booking_fee, found.currency) if found.booking_fee else "",
        f"{share}%" if found.booking_fee_basis_points else "",
    ]
    return " + ".join(filter(None, parts))
