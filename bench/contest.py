"""Describe one measurement for the runner: what it finds, and the ways that take turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.figures import Figure, Sample
from bench.stage import Stage

Way = Callable[[], Sample]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Hold our way and those that it is compared with, ready to run again and again."""

    ours: Way
    limit: Way | None = None
    usual: Way | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Describe a measurement.

    `open` starts what the ways need and ends it. Limit and usual way have only the first of the figures.
    """

    name: str
    figures: tuple[Figure, ...]
    open: Callable[[Stage], AbstractContextManager[Contest]]
