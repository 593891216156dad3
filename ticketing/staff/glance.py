"""Show sales at a glance: the programme with its occupancy, and sales by day and by hour."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import formats, timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from sessions_app.templatetags.frontrow import clock, money, short_day
from sessions_app.templatetags.frontrow import day as long_day
from ticketing.staff import charts, takings
from ticketing.staff.charts import Chart, Column
from ticketing.staff.takings import Hour, Places, Showing

LOOK = "ticketing.view_payment"
AHEAD = 7  # days of the programme
BEHIND = 14  # days of sales


@require_safe
def glance(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(LOOK):
        raise PermissionDenied
    today = timezone.localdate()
    plays, sold = asked_day(request, "plays", today), asked_day(request, "sold", today)
    showings = takings.showings(plays, days=AHEAD)
    hours = takings.sold_by_hour(sold, days=BEHIND)
    return render(
        request,
        "ticketing/desk/glance.html",
        {
            **admin.site.each_context(request),
            "title": _("Sales at a glance"),
            "content_title": _("Sales at a glance"),
            "today": today,
            "plays": programme(showings, plays),
            "sold": sales(hours, sold),
        },
    )


def asked_day(request: HttpRequest, name: str, otherwise: dt.date) -> dt.date:
    """Return the day in the address, at most ten years away; the default if it is unreadable or too far."""
    try:
        day = parse_date(request.GET.get(name, ""))
    except ValueError:
        day = None
    return day if day and abs(day - otherwise) < dt.timedelta(days=3_650) else otherwise


def number(value: int) -> str:
    return formats.number_format(value, use_l10n=True, force_grouping=True)


# --- Programme


def programme(showings: Sequence[Showing], first: dt.date) -> dict[str, object]:
    """Return the coming days, and the first day's sessions."""
    dates = [first + dt.timedelta(days=ahead) for ahead in range(AHEAD)]
    by_day: dict[dt.date, list[Showing]] = {date: [] for date in dates}
    for showing in showings:
        by_day[showing.day].append(showing)
    days = [(date, Places.of_all(showing.places for showing in by_day[date]), len(by_day[date])) for date in dates]
    columns = [
        Column(parts=parts_of(places), says=f"{long_day(date)}: {spelled(places)}", label=short_day(date))
        for date, places, _sessions in days
    ]
    return {
        "first": first,
        "earlier": first - dt.timedelta(days=AHEAD),
        "later": first + dt.timedelta(days=AHEAD),
        "days": days,
        "sessions": [(showing.session, showing.places, share(showing.places)) for showing in by_day[first]],
        "total": Places.of_all(showing.places for showing in showings),
        "chart": charts.draw(_("Places of the next days: sold, held and free"), columns, name=number),
    }


def parts_of(places: Places) -> list[tuple[str, int]]:
    return [("sold", places.sold), ("held", places.held), ("free", places.free)]


def spelled(places: Places) -> str:
    """Write places as “12 sold, 3 held, 81 free”."""
    return _("%(sold)s sold, %(held)s held, %(free)s free") % {part: number(value) for part, value in parts_of(places)}


def share(places: Places) -> list[tuple[str, str, str]]:
    """Return each part of a bar with a width of a hundred: name, start, width."""
    widths = [(part, 100 * value / max(places.all, 1)) for part, value in parts_of(places)]
    starts = itertools.accumulate([0.0, *(width for _part, width in widths)])
    return [(part, f"{start:.4g}", f"{width:.4g}") for (part, width), start in zip(widths, starts, strict=False)]


# --- Sales


def sales(hours: Sequence[Hour], last: dt.date) -> dict[str, object]:
    """Return the days that end with `last`, and the hours of that day."""
    dates = [last - dt.timedelta(days=behind) for behind in reversed(range(BEHIND))]
    currencies = sorted({hour.currency for hour in hours})
    days = [(date, [hour for hour in hours if hour.day == date]) for date in dates]
    of_last = days[-1][1]
    return {
        "last": last,
        "earlier": last - dt.timedelta(days=BEHIND),
        "later": last + dt.timedelta(days=BEHIND),
        "days": [(date, tickets_of(some), takings.revenue_of(some)) for date, some in days],
        "hours": hours_of(of_last),
        "tickets": tickets_of(of_last),
        "revenue": takings.revenue_of(of_last),
        "by_day": by_day(days),
        "by_hour": by_hour(of_last, last),
        "revenue_by_day": [revenue_by_day(days, currency) for currency in currencies],
    }


def tickets_of(hours: Sequence[Hour]) -> int:
    return sum(hour.tickets for hour in hours)


def hours_of(hours: Sequence[Hour]) -> list[tuple[dt.datetime, int, takings.Revenue]]:
    """Return one row per hour with sales."""
    return [
        (start, tickets_of(some), takings.revenue_of(some))
        for start, some in (
            (start, list(group)) for start, group in itertools.groupby(hours, key=lambda hour: hour.start)
        )
    ]


def counted(tickets: int) -> str:
    return ngettext("%(number)s ticket", "%(number)s tickets", tickets) % {"number": number(tickets)}


def by_day(days: Sequence[tuple[dt.date, Sequence[Hour]]]) -> Chart:
    columns = [
        Column(
            parts=[("sold", tickets_of(hours))],
            says=f"{long_day(date)}: {counted(tickets_of(hours))}",
            label=short_day(date) if (len(days) - index) % 3 == 1 else "",
        )
        for index, (date, hours) in enumerate(days)
    ]
    return charts.draw(_("Tickets sold by day"), columns, name=number)


def revenue_by_day(days: Sequence[tuple[dt.date, Sequence[Hour]]], currency: str) -> Chart:
    columns = [
        Column(
            parts=[("sold", takings.revenue_of(hours)[currency])],
            says=f"{long_day(date)}: {money(takings.revenue_of(hours)[currency], currency)}",
            label=short_day(date) if (len(days) - index) % 3 == 1 else "",
        )
        for index, (date, hours) in enumerate(days)
    ]
    title = _("Revenue by day in %(currency)s") % {"currency": currency}
    return charts.draw(title, columns, name=lambda value: money(value, currency))


def by_hour(hours: Sequence[Hour], date: dt.date) -> Chart:
    """Draw all hours of the day, also empty ones."""
    start, end = takings.between(date, 1)
    tickets = {at: sold for at, sold, _revenue in hours_of(hours)}
    length = round((end - start) / dt.timedelta(hours=1))  # 23 or 25 when clocks change
    columns = []
    for ahead in range(length):
        at = timezone.localtime(start.astimezone(dt.UTC) + dt.timedelta(hours=ahead))
        name = clock(at)
        sold = tickets.get(at, 0)
        columns.append(
            Column(parts=[("sold", sold)], says=f"{name}: {counted(sold)}", label=name if at.hour % 6 == 0 else "")
        )
    return charts.draw(_("Tickets sold by hour"), columns, name=number)
