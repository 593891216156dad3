"""Arrange sessions for moviegoers: by day, then by show, then the show's times by venue."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from sessions_app import queries
from sessions_app.models import Session, Show, Venue

LONGEST = 200  # sessions a page lists
DAYS = 14  # the strip of days


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The visitor's search."""

    search: str = ""
    venue: uuid.UUID | None = None
    day: dt.date | None = None

    @property
    def narrows(self) -> bool:
        return bool(self.search or self.venue)


@dataclass(frozen=True)
class ShowDay:
    """One show on one day: its times at each venue."""

    show: Show
    places: Sequence[tuple[Venue | None, Sequence[Session]]]


@dataclass(frozen=True)
class Day:
    date: dt.date
    shows: Sequence[ShowDay]


def matching(sessions: QuerySet[Session], wanted: Wanted) -> QuerySet[Session]:
    if wanted.search:
        sessions = sessions.filter(Q(show__title__icontains=wanted.search) | Q(show__genre__icontains=wanted.search))
    if wanted.venue:
        sessions = sessions.filter(hall__venue=wanted.venue)
    if wanted.day:
        sessions = sessions.filter(starts_at__date=wanted.day)  # by the house's own clock
    return sessions


def days(wanted: Wanted) -> list[dt.date]:
    """Return the next days that have a session matching the search."""
    upcoming = matching(Session.objects.upcoming(), Wanted(search=wanted.search, venue=wanted.venue))
    found = upcoming.annotate(day=TruncDate("starts_at")).order_by("day").values_list("day", flat=True).distinct()
    return list(found[:DAYS])


def programme(wanted: Wanted) -> list[Day]:
    """Return the days, soonest first; within a day, shows by title."""
    sessions = list(matching(queries.on_sale(), wanted)[:LONGEST])
    by_day = itertools.groupby(sessions, key=lambda session: timezone.localtime(session.starts_at).date())
    return [Day(date, _shows(of_day)) for date, of_day in by_day]


def _shows(sessions: Iterable[Session]) -> list[ShowDay]:
    by_show = sorted(sessions, key=lambda session: (session.show.title, session.show_id))
    return [
        ShowDay(next(iter(times)).show, _places(times))
        for times in (list(group) for _show, group in itertools.groupby(by_show, key=lambda session: session.show_id))
    ]


def _places(sessions: Sequence[Session]) -> list[tuple[Venue | None, list[Session]]]:
    def name(session: Session) -> str:
        return session.hall.venue.name if session.hall else ""

    ordered = sorted(sessions, key=lambda session: (name(session), session.starts_at))
    return [
        (times[0].hall.venue if times[0].hall else None, times)
        for times in (list(group) for _venue, group in itertools.groupby(ordered, key=name))
    ]
