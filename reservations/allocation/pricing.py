"""Compute prices of places. This is pure: it reads and writes nothing, and all amounts are whole minor units.

Note [How a price is put together]
1. `base` is the price of the place's ticket type when it was held.
2. A concession takes a share off, or sets a price of its own where that is lower.
3. A voucher takes a share off what is left of each place; or an amount off the whole reservation, which is spread over
   its places in proportion to what is left of them, and is never more than that. The units lost by rounding down go to
   the places that lost most by it, the first ones first.
4. A place that still costs something bears the session's booking fee: an amount, and a share of what is left.
5. Part of what is left, without the fee, is tax. The price contains it: at 700 basis points, 7/107 of the price.

Shares are rounded half up, each by itself. `price`, which the buyer pays for the place, is what is left plus the fee.
The total of a reservation is always the sum of its lines' prices.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reservations.bodies import Line
from reservations.models import Voucher
from reservations.refusals import (
    NotAmongTheSeats,
    UnknownConcession,
    VoucherExpired,
    VoucherNotForThis,
    VoucherNotYetValid,
    VoucherRefused,
    VoucherUnknown,
    WrongConcessionCount,
)
from sessions_app.models import WHOLE, Concession, Session

Part = Literal["discount", "fee", "tax"]
Kind = tuple[int, str]  # tells unnumbered places of a reservation apart: the price paid, and the concession's name
Choices = Sequence[tuple[str, str | int]]  # seat → concession; for unnumbered places: concession → how many


VOUCHER_REFUSALS = {kind.reason: kind for kind in VoucherRefused.__subclasses__()}


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one place; `base` less `discount` is `left`, and the buyer pays `amount`."""

    base: int
    discount: int
    fee: int
    tax: int

    @property
    def left(self) -> int:
        return self.base - self.discount

    @property
    def amount(self) -> int:
        return self.left + self.fee


# --- Amounts


def share(amount: int, part: int, *, of: int) -> int:
    """Return `part` of `of` parts of the amount, rounded half up."""
    return (2 * amount * part + of) // (2 * of)


def prices(
    bases: Sequence[int], *, session: Session, concessions: Sequence[Concession | None], voucher: Voucher | None = None
) -> list[Price]:
    """Price each place. `concessions` has one for each place, or None. See Note [How a price is put together]."""
    left = [_with_concession(base, concession) for base, concession in zip(bases, concessions, strict=True)]
    left = _with_voucher(left, voucher)
    return [_priced(base, now, session) for base, now in zip(bases, left, strict=True)]


def _with_concession(base: int, concession: Concession | None) -> int:
    if concession is None:
        return base
    if concession.price is not None:
        return min(base, concession.price)
    return base - share(base, concession.percent_off or 0, of=100)


def _with_voucher(left: Sequence[int], voucher: Voucher | None) -> list[int]:
    if voucher is None:
        return list(left)
    if voucher.percent_off is not None:
        return [amount - share(amount, voucher.percent_off, of=100) for amount in left]
    return [amount - off for amount, off in zip(left, spread(voucher.amount or 0, left), strict=True)]


def spread(amount: int, over: Sequence[int]) -> list[int]:
    """Split the amount in proportion to `over`, no part larger than its own; cap the amount at their sum."""
    whole = sum(over)
    amount = min(amount, whole)
    if not amount:
        return [0] * len(over)
    parts = [amount * one // whole for one in over]
    lost_most = sorted(range(len(over)), key=lambda place: -(amount * over[place] % whole))
    for place in lost_most[: amount - sum(parts)]:
        parts[place] += 1
    return parts


def _priced(base: int, left: int, session: Session) -> Price:
    fee = session.fee_of(left)
    tax = share(left, session.tax_basis_points, of=WHOLE + session.tax_basis_points)
    return Price(base=base, discount=base - left, fee=fee, tax=tax)


# --- Lines


def base_of(line: Line) -> int:
    """Return what the place cost before discounts and fees."""
    return (line["base"] if "base" in line else line["price"])["amount"]


def concession_id_of(line: Line) -> str:
    """Return the concession's id, or "" where the whole price is paid."""
    return line["concession"]["id"] if "concession" in line else ""


def concession_of(line: Line) -> str:
    """Return the concession's name; empty without one."""
    return line["concession"]["name"] if "concession" in line else ""


def part_of(line: Line, name: Part) -> int:
    """Return the line's `discount`, `fee` or `tax`, 0 where it is absent; a line stores no zero."""
    return line[name]["amount"] if name in line else 0


def total_of(lines: Sequence[Line]) -> int:
    return sum(line["price"]["amount"] for line in lines)


def priced(
    lines: Sequence[Line],
    *,
    session: Session,
    concessions: Sequence[Concession | None] = (),
    voucher: Voucher | None = None,
) -> list[Line]:
    """Return the same places priced with these concessions (none by default), this voucher and the session's fees."""
    chosen = concessions or [None] * len(lines)
    found = prices([base_of(line) for line in lines], session=session, concessions=chosen, voucher=voucher)
    return [
        _written(line, price, concession, session.currency)
        for line, price, concession in zip(lines, found, chosen, strict=True)
    ]


def _written(line: Line, price: Price, concession: Concession | None, currency: str) -> Line:
    parts: dict[Part, int] = {"discount": price.discount, "fee": price.fee, "tax": price.tax}
    written: Line = {
        "seat": line["seat"],
        "ticket_type": line["ticket_type"],
        "name": line["name"],
        "price": {"amount": price.amount, "currency": currency},
    }
    if concession is not None:
        written["concession"] = {"id": str(concession.pk), "name": concession.name}
    if price.discount or price.fee:
        written["base"] = {"amount": price.base, "currency": currency}
    for name, amount in parts.items():
        if amount:
            written[name] = {"amount": amount, "currency": currency}
    return written


def kind_of(line: Line) -> Kind:
    return line["price"]["amount"], concession_of(line)


def without(lines: Sequence[Line], kinds: Sequence[Kind]) -> list[Line]:
    """Return the lines that are left after unnumbered places of these kinds were given back."""
    gone = Counter(kinds)
    left = []
    for line in lines:
        if gone[kind_of(line)]:
            gone[kind_of(line)] -= 1
        else:
            left.append(line)
    return left


def has_charges(session: Session) -> bool:
    """Tell whether its places cost other than their ticket types say, or contain a tax."""
    return bool(session.booking_fee or session.booking_fee_basis_points or session.tax_basis_points)


# --- Choosing


def chosen(seats: Sequence[str | None], choices: Choices, known: Sequence[Concession]) -> list[Concession | None]:
    """Return the concession of each place; `seats` are the places' labels (None: unnumbered).

    Raises: UnknownConcession, NotAmongTheSeats, WrongConcessionCount.
    """
    if any(seat is not None for seat in seats):
        if strange := [label for label, _concession in choices if label not in seats]:
            raise NotAmongTheSeats(strange)
        named = dict(
            zip((seat for seat, _name in choices), found([str(name) for _seat, name in choices], known), strict=True)
        )
        return [named.get(seat or "") for seat in seats]
    kinds = found([name for name, _count in choices], known)
    counts = [count for _name, count in choices]
    if any(isinstance(count, str) or count < 0 for count in counts) or sum(map(int, counts)) > len(seats):
        raise WrongConcessionCount(len(seats))
    each = [kind for kind, count in zip(kinds, counts, strict=True) for _place in range(int(count))]
    return [*each, *[None] * (len(seats) - len(each))]


def found(names: Sequence[str], known: Sequence[Concession]) -> list[Concession]:
    """Find concessions by id or by name, in any case of letters. Raises: UnknownConcession."""
    by_name = {str(one.pk): one for one in known} | {one.name.casefold(): one for one in known}
    if strange := [name for name in names if name.casefold() not in by_name]:
        raise UnknownConcession(strange)
    return [by_name[name.casefold()] for name in names]


def kept(lines: Sequence[Line], known: Sequence[Concession]) -> list[Concession | None]:
    """Return the concessions that the lines already have. Raises: UnknownConcession, for one the session dropped."""
    by_id = {str(one.pk): one for one in known}
    chosen = [line.get("concession") for line in lines]
    if gone := sorted({one["name"] for one in chosen if one and one["id"] not in by_id}):
        raise UnknownConcession(gone)
    return [by_id[one["id"]] if one else None for one in chosen]


# --- Judging a voucher


def normal(code: str) -> str:
    """Return the code in the form in which it is stored."""
    return code.strip().upper()


def judge(voucher: Voucher | None, *, session: uuid.UUID, currency: str, now: dt.datetime) -> Voucher:
    """Return the voucher if it may be used here and now; its uses are counted elsewhere. Raises: VoucherRefused."""
    if voucher is None or not voucher.is_active:
        raise VoucherUnknown
    if voucher.valid_from is not None and now < voucher.valid_from:
        raise VoucherNotYetValid
    if voucher.valid_until is not None and voucher.valid_until <= now:
        raise VoucherExpired
    if voucher.session_id not in {None, session} or voucher.currency not in {"", currency}:
        raise VoucherNotForThis
    return voucher
