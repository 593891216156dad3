"""Show prices to people: each place at its own price, then discounts, then fees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reservations.allocation import pricing
from reservations.bodies import Line, ReservationBody


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A numbered place, or `places` of a kind; `amount` is the price before discounts."""

    what: str
    concession: str
    places: int
    amount: int


@dataclass(frozen=True, kw_only=True)
class Bill:
    entries: list[Entry]
    discount: int
    fee: int
    tax: int
    total: int
    currency: str

    @property
    def has_parts(self) -> bool:
        """Tell whether there is more to show than the total."""
        return bool(self.discount or self.fee or self.tax or any(entry.concession for entry in self.entries))


def of(lines: Sequence[Line], *, names: Mapping[str, str] | None = None) -> Bill | None:
    """Return the bill of these lines; None if there are none. `names` maps labels of seats to their names."""
    if not lines:
        return None
    return Bill(
        entries=_entries(lines, names or {}),
        discount=sum(pricing.part_of(line, "discount") for line in lines),
        fee=sum(pricing.part_of(line, "fee") for line in lines),
        tax=sum(pricing.part_of(line, "tax") for line in lines),
        total=pricing.total_of(lines),
        currency=lines[0]["price"]["currency"],
    )


def _entries(lines: Sequence[Line], names: Mapping[str, str]) -> list[Entry]:
    seen = Counter(
        (
            names.get(line["seat"], line["seat"]) if line["seat"] else line["name"],
            pricing.concession_of(line),
            pricing.base_of(line),
        )
        for line in lines
    )
    return [
        Entry(what=what, concession=concession, places=places, amount=base * places)
        for (what, concession, base), places in seen.items()
    ]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A field of the form for concessions.

    For a seat, it has the chosen concession; for unnumbered places, how many of them have `concession`.
    """

    field: str
    label: str
    chosen: str = ""
    number: int | None = None
    most: int = 0


def choices(
    body: ReservationBody, offered: Sequence[Mapping[str, str]], *, names: Mapping[str, str] | None = None
) -> list[Choice]:
    """Return the fields; `body` is a reservation's, `offered` the session's concessions by `id` and `label`."""
    if not offered:
        return []
    names = names or {}
    chosen = [line["concession"]["id"] if "concession" in line else "" for line in body["lines"]]
    if body["seats"]:
        return [
            Choice(field=f"concession:{seat}", label=names.get(seat, seat), chosen=concession)
            for seat, concession in zip((line["seat"] or "" for line in body["lines"]), chosen, strict=True)
        ]
    return [
        Choice(field=f"count:{one['id']}", label=one["label"], number=chosen.count(one["id"]), most=len(chosen))
        for one in offered
    ]
