"""Read and write a plan as a JSON document: sections, their rows, their seats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from sessions_app.models import SeatKind
from sessions_app.plan_files.checks import (
    DEPTH,
    LABEL,
    NUMBER,
    ROW,
    SECTION,
    SIDE,
    Chair,
    PlanRefused,
    Wrong,
    checked,
    is_name,
)
from sessions_app.plans import Place, label_of

MISSING = object()


@dataclass(frozen=True)
class Spot:
    """A value, its position in the document, and the list that its errors go to. A wrong value reads as its default."""

    value: Any
    path: str = ""
    wrong: list[Wrong] = field(default_factory=list)

    def refuse(self, message: str) -> None:
        self.wrong.append(Wrong(self.path, _("This field is missing.") if self.value is MISSING else message))

    def has_only(self, *names: str) -> bool:
        """Tell whether this is an object; a member of another name is an error, because it is probably mistyped."""
        if not isinstance(self.value, dict):
            self.refuse(_("Must be an object in braces."))
            return False
        for name in self.value.keys() - set(names):
            known = {"known": ", ".join(names)}
            self[name].refuse(_("This field is unknown. The known fields are: %(known)s.") % known)
        return True

    def __getitem__(self, name: str) -> Spot:
        path = f"{self.path}.{name}" if self.path else name
        return Spot(self.value.get(name, MISSING), path, self.wrong)

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def each(self) -> list[Spot]:
        if not isinstance(self.value, list) or not self.value:
            self.refuse(_("Must be a list of at least one item."))
            return []
        return [Spot(value, f"{self.path}[{index}]", self.wrong) for index, value in enumerate(self.value)]

    def name(self, longest: int) -> str:
        if isinstance(self.value, str) and is_name(self.value, longest):
            return self.value
        self.refuse(_("Must be a text of 1 to %(longest)d characters.") % {"longest": longest})
        return ""

    def number(self, lowest: int, highest: int) -> float:
        """Return a number with hundredths, as plans have them."""
        if type(self.value) in {int, float} and lowest <= self.value <= highest:
            return round(float(self.value), 2) + 0.0  # no minus before zero
        bounds = {"lowest": lowest, "highest": highest}
        self.refuse(_("Must be a number from %(lowest)d to %(highest)d.") % bounds)
        return 0.0

    def whole(self, lowest: int, highest: int) -> int:
        if type(self.value) is int and lowest <= self.value <= highest:
            return self.value
        bounds = {"lowest": lowest, "highest": highest}
        self.refuse(_("Must be a whole number from %(lowest)d to %(highest)d.") % bounds)
        return lowest

    def kind(self) -> str:
        if isinstance(self.value, str) and self.value in SeatKind.values:
            return self.value
        self.refuse(_("Must be one of: %(kinds)s.") % {"kinds": ", ".join(SeatKind.values)})
        return SeatKind.STANDARD.value

    def refuse_if_in(self, others: set[str]) -> None:
        """Refuse a name that another member already has."""
        if not isinstance(self.value, str):
            return
        if self.value in others:
            self.refuse(_("“%(name)s” comes twice.") % {"name": self.value})
        others.add(self.value)


def read(text: str) -> list[Place]:
    """Read a document. Raises: PlanRefused."""
    plan = Spot(_decoded(text))
    return checked(list(_chairs(plan)), plan.wrong)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = _("line %(line)d, column %(column)d") % {"line": error.lineno, "column": error.colno}
        raise PlanRefused([Wrong(place, _("The text is not JSON from here on."))]) from None
    except (RecursionError, ValueError):  # braces in thousands of braces, a number of thousands of digits
        raise PlanRefused([Wrong("", _("The text is not JSON."))]) from None


def _chairs(plan: Spot) -> Iterator[Chair]:
    sections = plan["sections"].each() if plan.has_only("sections") else []
    names: set[str] = set()
    for section in sections:
        if not section.has_only("name", "rows"):
            continue
        name = ""
        if len(sections) > 1 or "name" in section:
            name = section["name"].name(SECTION)
            section["name"].refuse_if_in(names)
        rows: set[str] = set()
        for row in section["rows"].each():
            if row.has_only("name", "y", "seats"):
                row["name"].refuse_if_in(rows)
                yield from _row(row, section=name)


def _row(row: Spot, *, section: str) -> Iterator[Chair]:
    name = row["name"].name(ROW)
    y = row["y"].number(0, DEPTH) if "y" in row else None
    for index, seat in enumerate(row["seats"].each(), 1):
        before = len(seat.wrong)
        if not seat.has_only("number", "label", "x", "y", "kind"):
            continue
        number = seat["number"].whole(1, NUMBER) if "number" in seat else index
        place = Place(
            label=seat["label"].name(LABEL) if "label" in seat else label_of(name, number),
            section=section,
            row=name,
            number=number,
            x=seat["x"].number(-SIDE, SIDE),
            y=seat["y"].number(0, DEPTH) if y is None or "y" in seat else y,
            kind=seat["kind"].kind() if "kind" in seat else SeatKind.STANDARD.value,
        )
        if name and len(seat.wrong) == before:
            yield Chair(seat.path, place)


def write(places: Sequence[Place]) -> str:
    """Return the document of a plan, with a line for each seat."""
    sections: dict[str, dict[str, list[Place]]] = {}
    for place in places:
        sections.setdefault(place.section, {}).setdefault(place.row, []).append(place)
    parts = (_written(section, rows) for section, rows in sections.items())
    return '{"sections": [' + ",\n".join(parts) + "]}\n"


def _written(section: str, rows: dict[str, list[Place]]) -> str:
    name = f'"name": {_text(section)}, ' if section else ""
    parts = (f'{{"name": {_text(row)}, "seats": [\n{_seats(seats)}]}}' for row, seats in rows.items())
    return f'{{{name}"rows": [\n' + ",\n".join(parts) + "]}"


def _seats(seats: Sequence[Place]) -> str:
    return ",\n".join(f"  {_text(_seat(seat))}" for seat in seats)


def _seat(seat: Place) -> dict[str, object]:
    """Return the members of a seat, without those that may be left out."""
    members: dict[str, object] = {"number": seat.number, "x": seat.x, "y": seat.y}
    if seat.label != label_of(seat.row, seat.number):
        members["label"] = seat.label
    return members if seat.kind == SeatKind.STANDARD else members | {"kind": str(seat.kind)}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
