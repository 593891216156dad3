"""Keep the messages of one session that came over the wire and were not sent to watchers yet.

Note [Diffs overtake each other]
Workers and web processes all change the map, and each sends its own diffs, so version 42 may come before 41. A diff
that is ahead therefore waits `WAIT_SECONDS` for the one before it. If that one does not come, the diff is sent without
it: watchers then see the gap and read the whole map, the whole crowd at once.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from realtime.switchboard import Body

WAIT_SECONDS = 0.4  # longer than two processes differ in sending; shorter than a watcher would mind
LONGEST = 256  # diffs that wait; more than that come after a real loss

GAPS = Counter("frontrow_feed_gaps", "Lost seat diffs: gaps in the map's versions that watchers were told about")


class Heard:
    """The messages of a session that wait. Times are of any monotonic clock."""

    def __init__(self) -> None:
        self._diffs: list[tuple[float, Body]] = []  # each with the time it came
        self._stock: dict[str, Body] = {}
        self._stock_at: dict[str, Any] = {}  # by ticket type: when its newest number was true

    def add(self, body: Body, *, at: float) -> None:
        """Take a message off the wire."""
        if body["type"] == "seats":
            self._diffs.append((at, body))
            return
        kind, number = body["ticket_type"], {name: value for name, value in body.items() if name != "at"}
        newest = self._stock_at.get(kind, 0)
        if body.get("at", newest) >= newest:
            self._stock_at[kind] = body.get("at", newest)
            self._stock[kind] = number

    def taken(self, *, after: int, now: float) -> list[Body]:
        """Take out all that can be sent now to watchers at version `after`.

        Diffs that follow each other become one. A diff that is ahead stays until its time is over, and is then sent by
        itself.
        """
        told: list[Body] = []
        version, waiting = after, list[tuple[float, Body]]()
        patient = len(self._diffs) <= LONGEST
        for came, body in sorted(self._diffs, key=lambda diff: (diff[1]["from"], diff[1]["version"])):
            if body["version"] <= version:
                continue
            if body["from"] > version and patient and now < came + WAIT_SECONDS:
                waiting.append((came, body))
                continue
            if told and body["from"] <= version:
                changes = {**told[-1]["changes"], **body["changes"]}
                told[-1] = {**body, "from": told[-1]["from"], "changes": changes}
            else:
                GAPS.inc(body["from"] > version)
                told.append(body)
            version = body["version"]
        self._diffs = [(came, body) for came, body in waiting if body["version"] > version]
        stock, self._stock = self._stock, {}
        return [*told, *stock.values()]

    @property
    def waits_until(self) -> float | None:
        """Return when the first diff that is ahead is sent all the same; None where none waits."""
        return min((came for came, _body in self._diffs), default=float("inf")) + WAIT_SECONDS if self._diffs else None
