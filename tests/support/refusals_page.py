"""Write docs/refusals.md from the catalogues."""

from __future__ import annotations

from collections.abc import Iterable

import reservations.refusals
import sessions_app.operations
import ticketing.refusals
from base.asking import OtherBuyer
from base.refusals import Refused

HEAD = """# Refusals

Every reason for which a request gets nothing. Each is an entry of a catalogue (`reservations/refusals`,
`ticketing/refusals.py`), and `tools/document-refusals` makes this page of it.

A problem (RFC 9457) has the `code` and the sentence, in the language of the request, and the facts beside it.

| status | code | sentence | facts |
|---|---|---|---|
"""
ENDED = """
## How a reservation or an order ends

`reason` of a reservation or an order says why it ended without a sale.

| reason | what its buyer reads | what the buyer can do |
|---|---|---|
"""


def written() -> str:
    refusals: list[type[Refused]] = [
        OtherBuyer,
        *reservations.refusals.ENTRIES,
        *ticketing.refusals.ENTRIES,
        *sessions_app.operations.REFUSALS,
    ]
    rows = sorted({_row(entry) for entry in refusals})
    endings = (
        f"| `{reason}` | {entry.ended} | {entry.advice} |\n" for reason, entry in reservations.refusals.ENDINGS.items()
    )
    return HEAD + "".join(rows) + ENDED + "".join(endings)


def _row(entry: type[Refused]) -> str:
    facts = _listed([*entry.shape, *(["errors"] if entry.field else [])])
    return f"| {entry.status} | `{entry.code}` | {entry.sentence} | {facts} |\n"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
