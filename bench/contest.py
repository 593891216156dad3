"""One measurement as the runner sees it: what it finds, and the ways that take turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.figures import Figure, Sample
from bench.stage import Stage

Way = Callable[[], Sample]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Ours, and what it is compared with, ready to run again and again."""

    ours: Way
    limit: Way | None = None
    usual: Way | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """`open` starts what the ways need and ends it; the first of the figures is the one that limit and usual have too."""

    name: str
    figures: tuple[Figure, ...]
    open: Callable[[Stage], AbstractContextManager[Contest]]
