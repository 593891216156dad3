"""Refuse requests by the facts of a sale, before admission asks Redis."""

from __future__ import annotations

from collections import Counter

from base.refusals import Refused
from reservations import rules
from reservations.admission.sale_facts import (
    FRESH_SECONDS,
    FactsUnavailable,
    SaleFacts,
    facts_of,
    voucher_of,
)
from reservations.allocation import pricing
from reservations.hold_request import Ask
from reservations.refusals import (
    AccountRequired,
    DuplicateSeat,
    NothingAsked,
    PaymentNeeded,
    SaleClosed,
    SaleNotOpen,
    SoldAtOnce,
    TooManySeats,
    UnknownConcession,
    UnknownLane,
    UnknownSeat,
    UnknownTicketType,
    VoucherRefused,
)

NEWER_SECONDS = 0.1  # a refusal uses facts at most this old
REJUDGED = (
    AccountRequired,
    PaymentNeeded,
    SaleClosed,
    SaleNotOpen,
    SoldAtOnce,
    TooManySeats,
    UnknownLane,
    UnknownConcession,
    UnknownSeat,
    UnknownTicketType,
)


def judged_by_facts(ask: Ask, *, is_guest: bool) -> SaleFacts:
    """Return the facts that the ask passes; a refusal by older facts is judged again by newer ones.

    A price or seat may be seconds old.
    """
    facts = facts_of(ask.session)
    try:
        refuse_nonsense(ask, facts, is_guest=is_guest)
    except REJUDGED:
        facts = facts_of(ask.session, max_age=NEWER_SECONDS)
        refuse_nonsense(ask, facts, is_guest=is_guest)
    if ask.voucher:
        _refuse_voucher(ask, facts)
    return facts


def refuse_nonsense(ask: Ask, facts: SaleFacts, *, is_guest: bool) -> None:
    now = facts.now()
    stock = facts.stock.get(ask.ticket_type) if ask.asks_stock and ask.ticket_type else None
    refusal = rules.of_session(ask, facts, now)
    if facts.accounts_required and is_guest and refusal is not SaleClosed:
        raise AccountRequired
    if refusal and refusal is not TooManySeats:
        raise _with_facts(refusal, ask, facts)
    if len(set(ask.seats)) < len(ask.seats):
        raise DuplicateSeat(seats=[seat for seat, times in Counter(ask.seats).items() if times > 1])
    if ask.places < 1:
        raise NothingAsked
    if refusal:
        raise _with_facts(refusal, ask, facts)
    if unknown := [seat for seat in ask.seats if seat not in facts.labels]:
        raise UnknownSeat(seats=unknown)
    if ask.ticket_type and ask.ticket_type not in (facts.ticket_types if ask.best_available else facts.stock):
        raise UnknownTicketType
    if ask.lane_code and facts.lane_of(ask.lane_code) is None:
        raise UnknownLane
    if stock is not None:
        refusal = rules.of_kind(ask, facts, stock, now, is_paid_at_door=stock.is_paid_at_door(now))
        if refusal:
            raise _with_facts(refusal, ask, facts)
    if ask.concessions:
        pricing.chosen(ask.seats or [None] * ask.places, ask.concessions, facts.concessions)


def _with_facts(refusal: type[Refused], ask: Ask, facts: SaleFacts) -> Refused:
    kind = ask.ticket_type if ask.asks_stock else None
    if refusal is SaleNotOpen:
        return SaleNotOpen(on_sale_at=facts.opens_at(kind))
    if refusal is TooManySeats:
        most = rules.most_in_one_order(facts, facts.stock.get(kind) if kind else None)
        return TooManySeats(limit=most, field=ask.counted_by)
    return refusal()


def _refuse_voucher(ask: Ask, facts: SaleFacts) -> None:
    """Refuse a voucher that is known to be wrong; accept it while the facts are unavailable.

    Its uses are judged when the request is allocated.
    """
    for max_age in (FRESH_SECONDS, NEWER_SECONDS):
        try:
            voucher = voucher_of(ask.voucher, max_age=max_age)
            pricing.judge(voucher, session=ask.session, currency=facts.currency, now=facts.now())
        except FactsUnavailable:
            return
        except VoucherRefused:
            if max_age == NEWER_SECONDS:
                raise
        else:
            return
