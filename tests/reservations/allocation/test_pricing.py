"""A price is put together right for any amounts: the sum holds, nothing is below zero, shares are rounded half up."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from base.ids import uuid7
from reservations.allocation import pricing
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
from sessions_app.models import HIGHEST_FEE, WHOLE, Concession, Session
from sessions_app.new_prices import HIGHEST_PRICE

BASES = st.lists(st.integers(0, HIGHEST_PRICE), min_size=1, max_size=12)
CONCESSIONS = st.one_of(
    st.none(),
    st.builds(Concession, percent_off=st.integers(0, 100)),
    st.builds(Concession, price=st.integers(0, HIGHEST_PRICE)),
)
VOUCHERS = st.one_of(
    st.none(),
    st.builds(Voucher, percent_off=st.integers(1, 100)),
    st.builds(Voucher, amount=st.integers(1, 2**31 - 1)),
)
SESSIONS = st.builds(
    Session,
    currency=st.just("BRL"),
    booking_fee=st.integers(0, HIGHEST_FEE),
    booking_fee_basis_points=st.integers(0, WHOLE),
    tax_basis_points=st.integers(0, WHOLE),
)
CHILD = Concession(id=uuid7(), name="Child", percent_off=50)
SENIOR = Concession(id=uuid7(), name="Senior", price=1000)


def of(*bases: int, **more: Any) -> list[pricing.Price]:
    concessions = more.pop("concessions", [None] * len(bases))
    voucher = more.pop("voucher", None)
    return pricing.prices(bases, session=Session(**more), concessions=concessions, voucher=voucher)


def exact(amount: int, part: int, whole: int) -> int:
    return int((Decimal(amount) * part / whole).quantize(Decimal(1), ROUND_HALF_UP))


class TestPrices:
    @given(data=st.data(), bases=BASES, session=SESSIONS, voucher=VOUCHERS)
    def test_are_whole_and_their_parts_add_up(
        self, data: st.DataObject, bases: list[int], session: Session, voucher: Voucher | None
    ) -> None:
        concessions = data.draw(st.lists(CONCESSIONS, min_size=len(bases), max_size=len(bases)))
        for price in pricing.prices(bases, session=session, concessions=concessions, voucher=voucher):
            assert 0 <= price.discount <= price.base
            assert 0 <= price.tax <= price.left
            assert price.fee >= 0
            assert (price.fee == 0) or price.left > 0
            assert price.amount == price.base - price.discount + price.fee >= price.fee + price.tax
            assert price.amount < 2**31  # a ticket's column

    @given(data=st.data(), bases=BASES, session=SESSIONS, voucher=VOUCHERS)
    def test_add_up_to_the_total_however_often_a_reservation_is_priced(
        self, data: st.DataObject, bases: list[int], session: Session, voucher: Voucher | None
    ) -> None:
        lines: list[Line] = [
            {"seat": f"A{n}", "ticket_type": "t", "name": "Inteira", "price": {"amount": base, "currency": "BRL"}}
            for n, base in enumerate(bases)
        ]
        concessions = data.draw(
            st.lists(st.sampled_from([None, CHILD, SENIOR]), min_size=len(bases), max_size=len(bases))
        )
        once = pricing.priced(lines, session=session, concessions=concessions, voucher=voucher)
        assert [pricing.base_of(line) for line in once] == bases
        again = pricing.priced(once, session=session, concessions=pricing.kept(once, [CHILD, SENIOR]), voucher=voucher)
        assert again == once
        assert pricing.total_of(once) == sum(
            pricing.base_of(line) - pricing.part_of(line, "discount") + pricing.part_of(line, "fee") for line in once
        )
        assert pricing.priced(once, session=Session(currency="BRL")) == lines

    @given(amount=st.integers(0, 2**62), over=st.lists(st.integers(0, HIGHEST_PRICE), max_size=20))
    def test_take_off_the_whole_discount_and_no_more_than_the_price(self, amount: int, over: list[int]) -> None:
        parts = pricing.spread(amount, over)
        assert sum(parts) == min(amount, sum(over))
        assert all(0 <= part <= one for part, one in zip(parts, over, strict=True))
        if sum(over):
            fair = [min(amount, sum(over)) * one / sum(over) for one in over]
            assert all(abs(part - ideal) < 1.001 for part, ideal in zip(parts, fair, strict=True))

    @given(amount=st.integers(0, HIGHEST_PRICE), part=st.integers(0, WHOLE))
    def test_round_half_up(self, amount: int, part: int) -> None:
        assert pricing.share(amount, part, of=WHOLE) == exact(amount, part, WHOLE)
        assert pricing.share(amount, part, of=WHOLE + part) == exact(amount, part, WHOLE + part)

    @pytest.mark.parametrize(
        ("told", "more", "expected"),
        [
            ("nothing", {}, (2500, 0, 0, 0)),
            ("half of an odd price", {"concessions": [CHILD], "base": 2501}, (2501, 1251, 0, 0)),
            ("a price of its own", {"concessions": [SENIOR]}, (2500, 1500, 0, 0)),
            ("never dearer", {"concessions": [SENIOR], "base": 800}, (800, 0, 0, 0)),
            ("a fee of both kinds", {"booking_fee": 150, "booking_fee_basis_points": 750}, (2500, 0, 338, 0)),
            ("a fee of what is left", {"concessions": [CHILD], "booking_fee_basis_points": 1000}, (2500, 1250, 125, 0)),
            ("a tax within", {"tax_basis_points": 700}, (2500, 0, 0, 164)),
            ("no tax on the fee", {"tax_basis_points": 700, "booking_fee": 1000}, (2500, 0, 1000, 164)),
            ("free, so no fee", {"voucher": Voucher(percent_off=100), "booking_fee": 150}, (2500, 2500, 0, 0)),
            ("one after the other", {"concessions": [CHILD], "voucher": Voucher(percent_off=10)}, (2500, 1375, 0, 0)),
            ("as much as there is", {"voucher": Voucher(amount=9999)}, (2500, 2500, 0, 0)),
        ],
    )
    def test_match_examples_worked_by_hand(self, told: str, more: dict[str, Any], expected: tuple[int, ...]) -> None:
        (price,) = of(more.pop("base", 2500), **more)
        assert (price.base, price.discount, price.fee, price.tax) == expected, told

    def test_share_an_amount_in_proportion_and_give_the_rest_to_the_first(self) -> None:
        assert [price.discount for price in of(1000, 1000, 1000, voucher=Voucher(amount=1000))] == [334, 333, 333]
        assert [price.discount for price in of(9000, 1000, 0, voucher=Voucher(amount=500))] == [450, 50, 0]


class TestChoosing:
    def test_names_a_concession_by_id_or_by_name_in_any_case(self) -> None:
        choices = [("A2", "cHILd"), ("A3", str(SENIOR.pk))]
        assert pricing.chosen(["A1", "A2", "A3"], choices, [CHILD, SENIOR]) == [None, CHILD, SENIOR]

    def test_counts_concessions_of_unnumbered_places(self) -> None:
        assert pricing.chosen([None] * 3, [("Senior", 1), ("Child", 1)], [CHILD, SENIOR]) == [SENIOR, CHILD, None]

    @pytest.mark.parametrize(
        ("seats", "choices", "error"),
        [
            (["A1"], [("A1", "Dog")], UnknownConcession),
            (["A1"], [("A1", 1)], UnknownConcession),
            (["A1"], [("A2", "Child")], NotAmongTheSeats),
            (["A1"], [("Child", 1)], NotAmongTheSeats),
            ([None], [("Dog", 1)], UnknownConcession),
            ([None], [("A1", "Child")], UnknownConcession),
            ([None], [("Child", "1")], WrongConcessionCount),
            ([None], [("Child", 2)], WrongConcessionCount),
            ([None], [("Child", 2), ("Senior", -1)], WrongConcessionCount),
            ([None], [("Child", 10**30)], WrongConcessionCount),
        ],
    )
    def test_refuses_concessions_that_fit_no_place(
        self, seats: list[str | None], choices: pricing.Choices, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            pricing.chosen(seats, choices, [CHILD, SENIOR])

    def test_keeps_no_concession_that_is_gone(self) -> None:
        line: Any = {"price": {"amount": 1}, "concession": {"id": str(CHILD.pk), "name": "Child"}}
        with pytest.raises(UnknownConcession) as gone:
            pricing.kept([line], [SENIOR])
        assert gone.value.concessions == ["Child"]

    def test_takes_away_the_kinds_of_places_that_were_given_back(self) -> None:
        child: Any = {"price": {"amount": 500}, "concession": {"id": "1", "name": "Child"}}
        full: Any = {"price": {"amount": 1000}}
        assert pricing.without([child, full, child], [(500, "Child"), (1000, "")]) == [child]


class TestJudging:
    NOW = timezone.now()
    SESSION = Session(currency="BRL")

    @pytest.mark.parametrize(
        ("voucher", "error"),
        [
            (None, VoucherUnknown),
            (Voucher(percent_off=10, is_active=False), VoucherUnknown),
            (Voucher(percent_off=10, valid_from=NOW + dt.timedelta(seconds=1)), VoucherNotYetValid),
            (Voucher(percent_off=10, valid_until=NOW), VoucherExpired),
            (Voucher(percent_off=10, session_id=uuid7()), VoucherNotForThis),
            (Voucher(amount=100, currency="EUR"), VoucherNotForThis),
        ],
    )
    def test_refuses_an_unusable_voucher(self, voucher: Voucher | None, error: type[VoucherRefused]) -> None:
        with pytest.raises(error):
            pricing.judge(voucher, session=self.SESSION.pk, currency=self.SESSION.currency, now=self.NOW)

    def test_accepts_a_voucher_that_is_valid_here_and_now(self) -> None:
        voucher = Voucher(
            amount=1, currency="BRL", session=self.SESSION, valid_from=self.NOW, valid_until=self.NOW + dt.timedelta(1)
        )
        assert pricing.judge(voucher, session=self.SESSION.pk, currency=self.SESSION.currency, now=self.NOW) is voucher

    def test_has_a_refusal_for_each_reason(self) -> None:
        assert set(pricing.VOUCHER_REFUSALS) == {
            "voucher_unknown",
            "voucher_not_yet_valid",
            "voucher_expired",
            "voucher_used_up",
            "voucher_not_for_this",
        }
