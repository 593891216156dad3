"""The same request has the same answer at admission, in the queue and on standby. Without a database."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from base.refusals import Refused
from reservations import rules
from reservations.admission import judging
from reservations.admission.sale_facts import SaleFacts, StockFacts
from reservations.allocation import decision, standby
from reservations.hold_request import AT_THE_DOOR, HOLD_SCOPE, ORDER_SCOPE, Ask, HoldRequest, Means
from reservations.models import Reservation
from reservations.refusals import LimitReached, SaleClosed
from sessions_app.models import Session, Show, TicketType

BUYER = uuid.uuid4()
AFTER, BEFORE = dt.timedelta(hours=1), dt.timedelta(hours=-1)
MOMENTS = st.sampled_from([None, AFTER, BEFORE])
FEW = st.sampled_from([None, 1, 2, 3, 4])


@dataclass
class House:
    """A session and a ticket type of unnumbered places, as unsaved rows."""

    session: Session
    kind: TicketType
    now: dt.datetime

    def facts(self) -> SaleFacts:
        """Return the facts as admission keeps them."""
        session, kind = self.session, self.kind
        return SaleFacts(
            session=session.pk,
            on_sale_at=session.on_sale_at,
            starts_at=session.starts_at,
            cancelled=session.cancelled_at is not None,
            hold_seconds=session.hold_seconds,
            max_per_buyer=session.max_per_buyer,
            accounts_required=False,
            plan_version=1,
            labels=frozenset(),
            ticket_types=frozenset({kind.pk}),
            stock={
                kind.pk: StockFacts(
                    levels=(),
                    holds=kind.holds,
                    is_free=kind.is_free,
                    pay_at_door=kind.pay_at_door,
                    sells_from=kind.sells_from,
                    sells_until=kind.sells_until,
                    max_per_order=kind.max_per_order,
                    max_per_buyer=kind.max_per_buyer,
                    collect_until=kind.collect_until(session),
                )
            },
            currency="BRL",
            concessions=(),
            lanes=(),
            standby=session.standby,
            admission_rate=None,
            ahead=0,
            read_at=0,
        )


@st.composite
def houses(draw: st.DrawFn) -> House:
    now = dt.datetime.now(dt.UTC)

    def moment() -> dt.datetime | None:
        shift = draw(MOMENTS)
        return None if shift is None else now + shift

    session = Session(
        show=Show(title="Estrada"),
        starts_at=now + draw(st.sampled_from([BEFORE, AFTER])),
        on_sale_at=moment(),
        cancelled_at=draw(st.sampled_from([None, None, now])),
        max_per_buyer=draw(st.integers(1, 4)),
        standby=True,
    )
    pay_at_door = draw(st.booleans())
    kind = TicketType(
        session=session,
        price=draw(st.sampled_from([0, 2500])),
        capacity=100,
        available=100,
        holds=draw(st.booleans()),
        pay_at_door=pay_at_door,
        collect_minutes=draw(st.sampled_from([None, 30, 90])) if pay_at_door else None,
        sells_from=moment(),
        sells_until=moment(),
        max_per_order=draw(FEW),
        max_per_buyer=draw(FEW),
    )
    return House(session, kind, now)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    scope = draw(st.sampled_from([HOLD_SCOPE, ORDER_SCOPE]))
    means = st.sampled_from([None, Means(method="fake", token="ok"), Means(method=AT_THE_DOOR)])
    return Ask(
        session=uuid.uuid4(),
        ticket_type=uuid.uuid4(),
        quantity=draw(st.integers(1, 6)),
        scope=scope,
        payment=draw(means) if scope == ORDER_SCOPE else None,
    )


def at_the_door(house: House, ask: Ask) -> type[Refused] | None:
    try:
        judging.refuse_nonsense(ask, house.facts(), is_guest=False)
    except Refused as refusal:
        return type(refusal)
    return None


def in_the_queue(house: House, request: HoldRequest, *, has: int = 0, has_of_kind: int = 0) -> type[Refused] | None:
    counted = Counter({(house.session.pk, BUYER): has, (house.kind.pk, BUYER): has_of_kind})
    news = SimpleNamespace(now=house.now)
    batch = SimpleNamespace(sessions={house.session.pk: house.session}, has=counted, news=news)
    return decision._refusal_by_rules(house.kind, request, cast("decision.Batch", batch))  # noqa: SLF001 its result


def asked_of(house: House, ask: Ask) -> tuple[Ask, HoldRequest]:
    what: dict[str, Any] = {"session": house.session.pk, "ticket_type": house.kind.pk, "quantity": ask.quantity}
    what |= {"scope": ask.scope, "payment": ask.payment}
    return Ask(**what), HoldRequest(id=uuid.uuid4(), buyer=BUYER, arrival=1, accepted_at=house.now, **what)


@given(houses(), asks())
def test_admission_and_allocation_answer_the_same(house: House, ask: Ask) -> None:
    asked, request = asked_of(house, ask)
    assert at_the_door(house, asked) is in_the_queue(house, request)


@given(houses(), asks(), st.integers(0, 5), st.integers(0, 5))
def test_allocation_and_standby_have_the_same_limits(house: House, ask: Ask, has: int, more: int) -> None:
    _asked, request = asked_of(house, ask)
    of_kind = min(has, more)
    refusal = in_the_queue(house, request, has=has, has_of_kind=of_kind)
    counted = Counter({(None, BUYER): has, (house.kind.pk, BUYER): of_kind})
    order = Reservation(buyer=BUYER, quantity=request.quantity)
    is_over = standby._is_over_the_limit(order, house.session, house.kind, counted)  # noqa: SLF001 its result
    if refusal is None:
        assert not is_over
    if refusal is LimitReached:
        assert is_over


@given(houses())
def test_admissions_copy_has_the_same_windows(house: House) -> None:
    facts = house.facts()
    assert rules.not_on_sale(facts, house.now) is rules.not_on_sale(house.session, house.now)
    (stock,) = facts.stock.values()
    assert rules.not_on_sale(stock, house.now) is rules.not_on_sale(house.kind, house.now)
    assert facts.opens_at(house.kind.pk) == max(
        (moment for moment in (house.session.on_sale_at, house.kind.sells_from) if moment), default=None
    )


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), FEW)
@example(places=1, has=4, has_of_kind=0, most=4, most_of_kind=None)
def test_limit_counts_places_owned_and_asked(
    places: int, has: int, has_of_kind: int, most: int, most_of_kind: int | None
) -> None:
    passed = rules.limit_passed(places, has=has, most=most, has_of_kind=has_of_kind, most_of_kind=most_of_kind)
    over = has + places > most, bool(most_of_kind) and has_of_kind + places > (most_of_kind or 0)
    assert (passed is None) == (over == (False, False))
    assert passed is None or passed == (most if over[0] else most_of_kind)


def test_hold_is_over_at_its_end() -> None:
    end = dt.datetime(2031, 3, 1, 20, tzinfo=dt.UTC)
    blink = dt.timedelta(microseconds=1)
    assert [rules.has_run_out(end, moment) for moment in (end - blink, end, end + blink)] == [False, True, True]
    assert not rules.has_run_out(None, end)


def test_session_is_closed_from_its_start() -> None:
    start = dt.datetime(2031, 3, 1, 20, tzinfo=dt.UTC)
    session = Session(starts_at=start, on_sale_at=None)
    assert rules.not_on_sale(session, start) is SaleClosed
    assert rules.not_on_sale(session, start - dt.timedelta(microseconds=1)) is None
