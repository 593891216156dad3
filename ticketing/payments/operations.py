"""Money and tickets. Authorise, sell, capture: in that order, so that nothing is charged for a seat that is gone.

Note [The steps of a payment]
1. `start_payment`, one transaction: the reservation is `paying` and its seats are pinned, once.
2. The gateway authorises, outside of any transaction.
3. One transaction sells the seats and writes sale and tickets, or puts the hold back. If something else came first, the money goes
   back.
4. The gateway captures, and that is noted with its posting.
Whatever dies in between, `sweep_payments` takes the attempt up again: each step may be repeated.

Note [Money that comes late]
A gateway may charge after it was given up: it was silent, or told us only later, by a webhook. Then the buyer gets the same places if
they are free still, as a new reservation; never others in silence. Else the money goes back, and the buyer is told.

Note [Together]
What many threads start, sell or note at once is one transaction: sessions, reservations and payments are locked in the order of
their ids, first all of the one kind and then of the next. Whoever waits for the others keeps no connection meanwhile: of those there are few,
and a batch would be no larger than their number. What is rung for at once stays together, where the gateway answers several at once: no
thread for each, and one question for all.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from prometheus_client import Counter

from base import causes
from base.breaker import BreakerOpen
from base.causes import Cause
from base.clock import db_now
from base.rows import as_array, as_json, execute
from realtime import events
from realtime.events import NewEvent
from reservations import metrics
from reservations.allocation import changes, endings, locks, pricing
from reservations.allocation.decision import FREE
from reservations.claims import pace
from reservations.claims.claims import NoClaims
from reservations.hold_request import AT_THE_DOOR
from reservations.models import LIVE, Reservation, Status
from reservations.operations import holding, joining
from reservations.operations.queued import announce
from reservations.queueing import replies
from sessions_app.models import Concession, Seat
from ticketing import sale_locks
from ticketing.faults import reach
from ticketing.models import UNSETTLED, Account, Payment, PaymentStatus, Sale, Ticket, TicketStatus
from ticketing.payments import gateways, ledger
from ticketing.payments.gateways import Attempt, Gateway, GatewayTimeout, GatewayUnavailable, SeveralAtOnce, Standing
from ticketing.payments.ledger import Posting
from ticketing.payments.together import Together
from ticketing.queries import find_sale, sale_body, sales_of

log = structlog.get_logger(__name__)

PIN = dt.timedelta(minutes=10)  # how long a payment may keep seats beyond their hold; the sweep settles it long before
SWEEP_AFTER = dt.timedelta(seconds=15)  # longer than the gateway's deadlines: nobody works on it any more
SWEPT_AT_ONCE = 4  # fewer than the silences that open a gateway's breaker: each may be asked about after it
SILENT = "gateway_silent"  # given up without the gateway's word
ASKED_AGAIN_AFTER = dt.timedelta(minutes=1)
ASKED_AGAIN_FOR = dt.timedelta(days=1)  # after that its webhook must do
AT_ONCE = 128  # payments that a process settles side by side; most of them wait for a gateway
UNREACHABLE = (GatewayTimeout, GatewayUnavailable, BreakerOpen)

payments = Counter("frontrow_payments_total", "Payment attempts that ended, by outcome.", ["outcome"])

Answer = TypeVar("Answer")
_sweeping = threading.Lock()

WRITE = """
UPDATE ticketing_payment AS row
SET status = new.status, reason = new.reason, reference = new.reference, reservation_id = new.reservation_id,
    changed_at = clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (id uuid, status text, reason text, reference text, reservation_id uuid)
WHERE row.id = new.id
"""
NOTE_CAPTURES = """
UPDATE ticketing_payment AS row SET status = 'captured', changed_at = clock_timestamp() FROM reservations_reservation AS owner
WHERE row.id = ANY(%s::uuid[]) AND row.status = 'authorised' AND owner.id = row.reservation_id
RETURNING row.id, row.method, row.amount, row.currency, owner.session_id, owner.buyer, row.cause, (
    SELECT ARRAY[coalesce(sum(ticket.fee), 0), coalesce(sum(ticket.tax), 0)]::bigint[] FROM ticketing_ticket AS ticket
    JOIN ticketing_sale AS sale ON sale.id = ticket.sale_id WHERE sale.payment_id = row.id
)
"""


# --- Starting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    reservation: uuid.UUID
    buyer: uuid.UUID | None
    method: str
    token: str
    email: str
    language: str
    may_wait: bool = False  # for the session's rate: an order, which nobody pays by hand
    why: Cause = dataclasses.field(default_factory=causes.current)


class _NotDue(Exception):
    """As many payments of the session's orders as its rate allows are begun."""


class _NotSettled(Exception):
    """The reservation isn't in the table, or is somebody else's."""


class NotFree(Exception):
    """Nothing was named to pay by, and there is something to pay."""


def start_payment(
    *,
    reservation_id: uuid.UUID,
    buyer: uuid.UUID | None,
    method: str = FREE.method,
    token: str = "",
    email: str = "",
    language: str = "en",
    at_the_counter: bool = False,
) -> Payment:
    """Pin the hold and open an attempt; `settle_payment` must follow. What costs nothing needs no method.

    Raises: NotFree, UnknownMethod, UnknownToken, LimitPassed, ReservationExpired, NotHeld, PaymentInProgress, AlreadyPaid, Reservation.DoesNotExist, NotYetKnown.
    """
    if method != FREE.method:
        (gateways.at_the_counter if at_the_counter else gateways.chosen)(method).check(token)
    ask = _Start(reservation=reservation_id, buyer=buyer, method=method, token=token, email=email, language=language)
    try:
        return _start(ask)
    except _NotSettled:
        raise holding.not_settled(reservation_id, buyer=buyer) from None


def start_orders(orders: Sequence[Reservation]) -> list[Payment]:
    """An attempt for each of these orders that nobody began to pay yet, by the means it carries, as many as their sessions' rates allow."""
    asks = [
        _Start(reservation=order.pk, buyer=None, may_wait=True, why=order.why, **order.payment)
        for order in orders
        if order.payment
    ]
    made = _start.all(asks)
    for ask, outcome in zip(asks, made, strict=True):
        if isinstance(outcome, Exception):
            log.info("order.not_begun", order=str(ask.reservation), error=repr(outcome))
    return [outcome for outcome in made if isinstance(outcome, Payment)]


@transaction.atomic(durable=True)
def _start_all(asks: Sequence[_Start]) -> list[Payment | Exception]:
    """See Note [Together]."""
    found = locks.lock_reservations([ask.reservation for ask in asks])
    were_guests = joining.were_guests({locked.reservation.buyer for locked in found.values()})
    pinned: dict[uuid.UUID, locks.Locked] = {}
    outcomes: list[Payment | Exception] = []
    for ask in asks:
        locked = found.get(ask.reservation)
        try:
            _require_payable(locked, ask, pinned)
            assert locked is not None
            if locked.reservation.buyer in were_guests:
                joining.require_room(locked.reservation, besides=[one.reservation for one in pinned.values()])
            _require_due(locked, ask)
        except Exception as error:  # noqa: BLE001 it is this one's outcome; the others are not to blame
            outcomes.append(error)
            continue
        pinned[ask.reservation] = locked
        outcomes.append(_attempt(locked.reservation, ask))
    Payment.objects.bulk_create([made for made in outcomes if isinstance(made, Payment)])
    for locked in list(pinned.values())[:1]:
        changes.pin(list(pinned.values()), until=locked.now + PIN)
        announce(locked.news)
    return outcomes


_start = Together(_start_all)


def _require_payable(locked: locks.Locked | None, ask: _Start, pinned: dict[uuid.UUID, locks.Locked]) -> None:
    if locked is None or (ask.buyer is not None and locked.reservation.buyer != ask.buyer):
        raise _NotSettled
    if ask.reservation in pinned:
        raise holding.PaymentInProgress
    holding.require_held(locked)
    if ask.method == FREE.method and locked.reservation.total:
        raise NotFree


def _require_due(locked: locks.Locked, ask: _Start) -> None:
    """By the session's rate, which this moves on. Raises: _NotDue."""
    if ask.may_wait and pace.due(locked.session, locked.now, "payment_rate") == 0:
        metrics.put_off.labels("payment").inc()
        raise _NotDue
    pace.pass_on(locked.session, 1, locked.now, "payment_rate")


def _attempt(reservation: Reservation, ask: _Start) -> Payment:
    return Payment(
        reservation=reservation,
        method=ask.method,
        token=ask.token,
        amount=reservation.total,
        currency=reservation.currency,
        email=ask.email,
        language=ask.language,
        cause=ask.why.id,
    )


# --- Settling


def settle_payment(*, payment_id: uuid.UUID, reply_to: str = "") -> None:
    """Bring an attempt to its end: a sale, or the hold goes on, or the money goes back. Again is harmless.

    While the gateway can't be reached it stays open, for the sweep.
    """
    payment = Payment.objects.get(pk=payment_id)
    with causes.working_for(causes.or_else(Cause(payment.cause))):
        _settle(payment)
    _reply(payment_id, reply_to)


def _settle(payment: Payment) -> None:
    try:
        if payment.status == PaymentStatus.FAILED and payment.reason == SILENT:
            _ask_after_all(payment)
        if payment.status == PaymentStatus.STARTED:
            _authorise_and_sell(payment)
        if payment.status == PaymentStatus.AUTHORISED:
            _capture(payment)
        if payment.status == PaymentStatus.RETURNING:
            _give_back(payment)
    except UNREACHABLE as error:
        log.warning("payment.left_to_the_sweep", payment=str(payment.pk), error=type(error).__name__)
    else:
        log.info("payment.settled", payment=str(payment.pk), status=payment.status)


def settle_payments(payments: Sequence[tuple[uuid.UUID, str]]) -> None:
    """Several at once, each with whom to tell. One that fails is left to the sweep."""
    waiters = dict(payments)
    found = Payment.objects.in_bulk(list(waiters))
    done = settle_together([payment for payment in found.values() if payment.is_untouched])
    for payment in done:
        _reply(payment, waiters[payment])
    left = [payment for payment in found if payment not in done]
    settle_side_by_side(left, then=lambda payment: _reply(payment, waiters[payment]))


def settle_side_by_side(payments: Sequence[uuid.UUID], *, then: Callable[[uuid.UUID], None]) -> None:
    """Each by itself, and they wait for the gateway at the same time; `then` when it is settled. One that fails is left to the sweep."""
    connection.close()  # back to the pool: those who settle need what there is of it
    work = functools.partial(_settle_alone, then=then)
    list(_threads(os.getpid()).map(work, payments) if len(payments) > 1 else map(work, payments))


@functools.cache
def _threads(_pid: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="payments")


def _settle_alone(payment_id: uuid.UUID, *, then: Callable[[uuid.UUID], None]) -> None:
    try:
        settle_payment(payment_id=payment_id)
        then(payment_id)
    except Exception:
        log.exception("payment.left_to_the_sweep", payment=str(payment_id))
    finally:
        connection.close()  # back to the pool


def ask_gateway(payment: Payment, question: Callable[[Gateway, Attempt], Answer]) -> Answer:
    """No transaction and no connection waits for the gateway with us. Raises: GatewayTimeout, GatewayUnavailable, BreakerOpen."""
    if payment.method != "fake":  # the sandbox, which is in the database itself, gives it back where it waits
        connection.close()
    with gateways.breaker_of(payment.method):
        return question(gateways.of(payment.method), _attempt_at_gateway(payment))


def settle_together(some: Sequence[Payment]) -> set[uuid.UUID]:
    """Attempts that nobody asked the gateway about yet, as far as it answers several at once: those that came to their end.

    Each step is one for all of them. Whoever isn't plain, or falls out on the way, is left to `settle_payment`, which takes it up where it stands.
    """
    plain = [payment for payment in some if _is_plain(payment)]
    try:
        return _settle_plain(plain) if plain else set()
    except Exception as error:  # noqa: BLE001 each is settled alone then, and says itself what is wrong
        log.warning("payments.not_together", payments=len(plain), error=repr(error))
        return set()


def _is_plain(payment: Payment) -> bool:
    if not payment.amount:
        return True
    gateway = gateways.several_at_once(payment.method)
    return gateway is not None and gateway.is_plain(_attempt_at_gateway(payment))


def _settle_plain(some: Sequence[Payment]) -> set[uuid.UUID]:
    """See Note [The steps of a payment]. Raises: UNREACHABLE, and what PostgreSQL raises."""
    reach("payment.started")
    standings = _ask_together(some, lambda gateway, attempts: gateway.authorise_all(attempts), free="authorised")
    reach("payment.authorised")
    paid = [_Authorised(payment=pk, reference=found.reference) for pk, found in standings.items() if found.has_money]
    sold = {ask.payment for ask, now in zip(paid, _sell.all(paid), strict=True) if now == PaymentStatus.AUTHORISED}
    reach("payment.sold")
    some = [payment for payment in some if payment.pk in sold]
    standings = _ask_together(some, lambda gateway, attempts: gateway.capture_all(attempts), free="captured")
    reach("payment.captured")
    taken = [_Captured(payment=pk, fee=found.fee) for pk, found in standings.items() if found.state == "captured"]
    noted = _note_capture.all(taken)
    log.info("payments.settled", payments=len(taken), request_ids=sorted({row.cause for row in some if row.cause}))
    return {ask.payment for ask, error in zip(taken, noted, strict=True) if error is None}


def _ask_together(
    some: Sequence[Payment],
    question: Callable[[SeveralAtOnce, Sequence[Attempt]], list[Standing]],
    *,
    free: gateways.State,
) -> dict[uuid.UUID, Standing]:
    """How each stands; `free`: what costs nothing. Raises: UNREACHABLE."""
    standings = {payment.pk: Standing(free) for payment in some if not payment.amount}
    by_method: dict[str, list[Attempt]] = defaultdict(list)
    for payment in some:
        if payment.amount:
            by_method[payment.method].append(_attempt_at_gateway(payment))
    for method, attempts in by_method.items():
        gateway = gateways.several_at_once(method)
        assert gateway is not None
        try:
            with gateways.breaker_of(method):
                answers = question(gateway, attempts)
        except GatewayTimeout:
            _touch(*(attempt.id for attempt in attempts))
            raise
        standings |= zip((attempt.id for attempt in attempts), answers, strict=True)
    return standings


def _attempt_at_gateway(payment: Payment) -> Attempt:
    return Attempt(
        id=payment.pk,
        amount=payment.amount,
        currency=payment.currency,
        token=payment.token,
        reference=payment.reference,
    )


def _authorise_and_sell(payment: Payment) -> None:
    reach("payment.started")
    try:
        standing = _authorise(payment)
    except UNREACHABLE:
        if not _is_given_up(payment):
            raise
        standing = Standing("unknown", reason=SILENT)
    reach("payment.authorised")
    if standing.has_money:
        payment.status = _sell(_Authorised(payment=payment.pk, reference=standing.reference))
        payment.reference = standing.reference or payment.reference
        reach("payment.sold")
        return
    if standing.state == "pending" and not _is_given_up(payment):
        return
    _put_back(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


def _authorise(payment: Payment) -> Standing:
    """Ask the gateway; after a time-out ask how it stands, and make sure that what it never heard of can't come later.

    Raises: GatewayTimeout, when it says nothing at all; GatewayUnavailable, BreakerOpen, when nothing is known of an earlier try.
    """
    if not payment.amount:
        return Standing("authorised")
    first_try = payment.is_untouched
    try:
        return ask_gateway(payment, lambda gateway, attempt: gateway.authorise(attempt))
    except (GatewayUnavailable, BreakerOpen):
        if not first_try:
            raise
        return Standing("unknown")
    except GatewayTimeout:
        _touch(payment.pk)
    standing = ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))
    if standing.state != "unknown":
        return standing
    standing = ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    return dataclasses.replace(standing, reason="gateway_timeout") if not standing.has_money else standing


def _touch(*payments: uuid.UUID) -> None:
    """Noted before they are asked about again: from now on the gateway may have heard of them."""
    Payment.objects.filter(pk__in=payments).update(changed_at=Now())


def _is_given_up(payment: Payment) -> bool:
    """Whether its seats were kept for it as long as they may be."""
    pinned = Reservation.objects.filter(pk=payment.reservation_id).values_list("pinned_until", flat=True).get()
    return pinned is None or pinned <= db_now()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Authorised:
    payment: uuid.UUID
    reference: str


@transaction.atomic(durable=True)
def _sell_all(asks: Sequence[_Authorised]) -> list[str | Exception]:
    """Seats sold, sales and tickets written; what came too late goes back. How each stands then. See Note [Together]."""
    found = _lock_all([ask.payment for ask in asks])
    references = {ask.payment: ask.reference for ask in asks}
    sold, lost = [], []
    for locked, payment in found:
        if payment.status != PaymentStatus.STARTED:
            continue  # somebody else took this step
        payment.reference = references[payment.pk] or payment.reference
        if locked.reservation.status == Status.PAYING and locked.session.cancelled_at is None:
            sold.append((locked, payment))
        else:
            lost.append((locked, payment))
    _write_sales(sold)
    for locked, payment in lost:
        _lose(locked, payment)
    if found:
        announce(found[0][0].news)
    standings = {payment.pk: payment.status for _locked, payment in found}
    return [standings[ask.payment] for ask in asks]


_sell = Together(_sell_all)


def _lock_all(payment_ids: Sequence[uuid.UUID]) -> list[tuple[locks.Locked, Payment]]:
    owners = Payment.objects.filter(pk__in=payment_ids).values_list("reservation_id", flat=True)
    locked = locks.lock_reservations(list(owners))
    rows = Payment.objects.select_for_update(no_key=True).filter(pk__in=payment_ids).order_by("pk")
    found = [(locked[row.reservation_id], row) for row in rows if row.reservation_id in locked]
    for owner, payment in found:
        if payment.cause:
            owner.reservation.changed_for = Cause(payment.cause, owner.reservation.buyer)
    return found


def _write_sales(sold: Sequence[tuple[locks.Locked, Payment]]) -> None:
    """All of a batch, which share their `news`."""
    if not sold:
        return
    sales = [_sale_of(locked.reservation, payment) for locked, payment in sold]
    for sale, number in zip(sales, _next_numbers(len(sales)), strict=True):
        sale.number = number
        sale.sold_at = sold[0][0].now
    seats = changes.sell(
        [(locked, sale.pk) for (locked, _payment), sale in zip(sold, sales, strict=True)],
        due=[sale.pk for sale in sales if is_due(sale.payment)],
    )
    Sale.objects.bulk_create(sales)
    notes = _notes_of(sales)
    tickets = {sale.pk: _tickets_of(sale, seats[sale.reservation_id], notes) for sale in sales}
    Ticket.objects.bulk_create(ticket for some in tickets.values() for ticket in some)
    ledger.post(_dues_of(sales, tickets))
    for (locked, payment), sale in zip(sold, sales, strict=True):
        payment.status = PaymentStatus.DUE if is_due(payment) else PaymentStatus.AUTHORISED
        locked.news.sold(locked.reservation, sale=sale_body(sale, tickets=tickets[sale.pk]))
    _write([payment for _locked, payment in sold])


def is_due(payment: Payment) -> bool:
    """Whether its money is taken at the door."""
    return payment.method == AT_THE_DOOR


def _dues_of(sales: Sequence[Sale], tickets: Mapping[uuid.UUID, Sequence[Ticket]]) -> list[Posting]:
    """What of these is to be paid at the door is earned already, and nobody has it yet."""
    return [
        Posting(debit=Account.DUE, credit=account, amount=amount, currency=sale.currency, payment=sale.payment_id)
        for sale in sales
        if is_due(sale.payment)
        for account, amount in ledger.parts_of(tickets[sale.pk]).items()
    ]


def _sale_of(reservation: Reservation, payment: Payment) -> Sale:
    return Sale(
        reservation=reservation,
        payment=payment,
        session=reservation.session,
        buyer=reservation.buyer,
        lines=reservation.lines,
        total=payment.amount,
        currency=payment.currency,
        email=payment.email,
        language=payment.language,
    )


def _notes_of(sales: Sequence[Sale]) -> dict[str, str]:
    """By concession's id, what entitles to it: a ticket keeps it as it is now."""
    chosen = {pricing.concession_id_of(line) for sale in sales for line in sale.lines} - {""}
    rows = Concession.objects.filter(pk__in=chosen).values_list("pk", "note") if chosen else ()
    return {str(concession): note for concession, note in rows}


def _tickets_of(sale: Sale, seats: dict[str, int], notes: Mapping[str, str]) -> list[Ticket]:
    return [
        Ticket(
            sale=sale,
            session=sale.session,
            seat_id=seats.get(line["seat"]),
            ticket_type_id=line["ticket_type"],
            price=line["price"]["amount"],
            fee=pricing.part_of(line, "fee"),
            tax=pricing.part_of(line, "tax"),
            concession=pricing.concession_of(line),
            concession_note=notes.get(pricing.concession_id_of(line), ""),
            due=line["price"]["amount"] if is_due(sale.payment) else 0,
        )
        for line in sale.lines
    ]


def _next_numbers(count: int) -> list[int]:
    return [row[0] for row in execute("SELECT nextval('sale_number') FROM generate_series(1, %s)", count)]


def _write(some: Sequence[Payment]) -> None:
    """Their standing, with one statement."""
    columns = ("id", "status", "reason", "reference", "reservation_id")
    execute(WRITE, as_json([{name: getattr(row, name) for name in columns} for row in some]))


def _lose(locked: locks.Locked, payment: Payment) -> None:
    """Reserved or taken, and nothing can be sold for it: it goes back."""
    keeps_the_seats = (
        payment.status == PaymentStatus.STARTED
    )  # what comes late must not let go of what another attempt keeps
    payment.status = PaymentStatus.RETURNING
    payment.reason = payment.reason or "too_late"
    _write([payment])
    if keeps_the_seats and locked.reservation.status == Status.PAYING:
        _let_go(locked, reason="session_cancelled")
    locked.news.fact(
        "payment.lost", reservation=locked.reservation, facts={"payment": str(payment.pk), "reason": payment.reason}
    )


@transaction.atomic(durable=True)
def _put_back(*, payment_id: uuid.UUID, standing: Standing) -> None:
    """It was declined, or nothing came of it: the hold goes on while it lasts."""
    for locked, payment in _lock_all([payment_id]):
        if payment.status != PaymentStatus.STARTED:
            return
        declined = standing.state == "declined"
        # What may still come without our leave is asked about again.
        payment.reason = standing.reason or standing.state
        if standing.state in {"unknown", "pending"}:
            payment.reason = SILENT
        payment.reference = standing.reference or payment.reference
        payment.status = PaymentStatus.DECLINED if declined else PaymentStatus.FAILED
        _write([payment])
        locked.news.fact(
            "payment.declined",
            reservation=locked.reservation,
            facts={"payment": str(payment.pk), "reason": payment.reason},
        )
        if locked.reservation.status == Status.PAYING:
            _let_go(locked, reason="payment_declined")
        announce(locked.news)
        payments.labels(payment.status).inc()


def _let_go(locked: locks.Locked, *, reason: str) -> None:
    """The hold goes on while it lasts; an order that brought its payment is over: nobody is there to try another card."""
    if locked.reservation.payment is None:
        changes.unpin(locked)
    else:
        endings.free(locked, status=Status.CANCELLED, reason=reason)


def _capture(payment: Payment) -> None:
    """Take the money for what was sold. If it is gone, so is the sale."""
    standing = (
        ask_gateway(payment, lambda gateway, attempt: gateway.capture(attempt))
        if payment.amount
        else Standing("captured")
    )
    reach("payment.captured")
    if standing.state == "captured":
        _note_capture(_Captured(payment=payment.pk, fee=standing.fee))
        payment.status = PaymentStatus.CAPTURED
    elif standing.state in {"voided", "declined"}:
        log.error("payment.not_captured", payment=str(payment.pk), state=standing.state)
        _unsell(payment_id=payment.pk)
    else:
        log.warning("payment.capture_later", payment=str(payment.pk), state=standing.state)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    payment: uuid.UUID
    fee: int


@transaction.atomic(durable=True)
def _note_captures(asks: Sequence[_Captured]) -> list[Exception | None]:
    fees = {ask.payment: ask.fee for ask in asks}
    new: list[NewEvent] = []
    postings: list[Posting] = []
    for payment, method, amount, currency, session, buyer, cause, (booking, tax) in execute(
        NOTE_CAPTURES, as_array(sorted(fees))
    ):
        facts = {"payment": str(payment), "amount": amount, "currency": currency}
        why = Cause(cause, buyer)
        new.append(NewEvent(event="payment.captured", session=session, buyer=buyer, facts=facts, why=why))
        parts = ledger.split(amount, fees=booking, taxes=tax)
        postings += _of_capture(payment, parts, currency, into=ledger.purse_of(method), fee=fees[payment])
    ledger.post(postings)
    events.record_many(new)
    payments.labels("captured").inc(len(new))
    return [None] * len(asks)


_note_capture = Together(_note_captures)


def _of_capture(
    payment: uuid.UUID, parts: dict[Account, int], currency: str, *, into: Account, fee: int
) -> list[Posting]:
    """`parts`: the parts of what was captured, by where they belong; `fee`: the gateway's."""
    taken = [
        Posting(debit=into, credit=credit, amount=amount, currency=currency, payment=payment)
        for credit, amount in parts.items()
    ]
    return [
        *taken,
        Posting(debit=Account.FEES, credit=Account.GATEWAY, amount=fee, currency=currency, payment=payment),
    ]


@transaction.atomic(durable=True)
def _unsell(*, payment_id: uuid.UUID) -> None:
    """What was reserved for the sale is gone at the gateway: there is no money, so there is no sale."""
    for locked, payment in _lock_all([payment_id]):
        if payment.status != PaymentStatus.AUTHORISED:
            return
        endings.lock_places_of(locked)
        sale = sale_locks.lock_sale(payment.sale.pk)
        left = [ticket for ticket in sale_locks.lock_tickets(sale) if ticket.status != TicketStatus.VOID]
        give_places_back(locked, sale, left)
        Sale.objects.filter(pk=sale.pk).update(refunded=sale.total)
        payment.status, payment.reason = PaymentStatus.VOIDED, "not_captured"
        _write([payment])
        locked.news.fact("payment.returned", reservation=locked.reservation, facts=_facts_of_return(payment))
        announce(locked.news)
        payments.labels("voided").inc()


def give_places_back(locked: locks.Locked, sale: Sale, tickets: Sequence[Ticket]) -> None:
    """These locked tickets admit nobody any more, and what they were for is on sale again. In the caller's transaction.

    A void ticket with `used_at` was given back by staff after it had been used. A holder who isn't the buyer is told.
    """
    used = {ticket.pk for ticket in tickets if ticket.status == TicketStatus.USED}
    unused = {ticket.pk for ticket in tickets} - used
    Ticket.objects.filter(pk__in=unused).update(status=TicketStatus.VOID, used_at=None, used_gate="", due=0)
    if used:
        Ticket.objects.filter(pk__in=used).update(status=TicketStatus.VOID)
    Sale.objects.filter(pk=sale.pk).note_change()
    events.record_many(
        [
            NewEvent(
                event="ticket.voided",
                session=ticket.session_id,
                buyer=ticket.holder,
                facts={"ticket": str(ticket.pk), "sale": str(sale.pk)},
            )
            for ticket in tickets
            if ticket.holder is not None
        ]
    )
    endings.take_back(
        locked,
        seats=[ticket.seat.label for ticket in tickets if ticket.seat],
        kinds=[(ticket.price, ticket.concession) for ticket in tickets],
    )


def close_if_paid(sale: Sale) -> None:
    """When nothing of a sale is to be paid at the door any more: it is paid, or all of it was given back unpaid. The sale is locked."""
    if Ticket.objects.filter(sale=sale, due__gt=0).exists():
        return
    is_over = (
        sale.waived == sale.total and not Ticket.objects.filter(sale=sale).exclude(status=TicketStatus.VOID).exists()
    )
    status = PaymentStatus.VOIDED if is_over else PaymentStatus.CAPTURED
    Payment.objects.filter(pk=sale.payment_id).update(status=status, changed_at=Now())
    # In a transaction of its own: it locks the session first, as all that change reservations do.
    transaction.on_commit(functools.partial(holding.no_longer_due, reservation_id=sale.reservation_id))


# --- Money that goes back, or comes late


def _give_back(payment: Payment) -> None:
    """Let go of it, or pay it back if it was taken already."""
    standing = (
        ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt)) if payment.amount else Standing("voided")
    )
    if standing.state == "authorised":
        standing = ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    if standing.state == "captured":
        ask_gateway(payment, lambda gateway, attempt: gateway.refund(attempt, refund=payment.pk, amount=payment.amount))
    if standing.state == "pending":
        return
    reach("payment.given_back")
    _note_return(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


@transaction.atomic(durable=True)
def _note_return(*, payment_id: uuid.UUID, standing: Standing) -> None:
    for locked, payment in _lock_all([payment_id]):
        if payment.status != PaymentStatus.RETURNING:
            return
        payment.status = PaymentStatus.RETURNED if standing.state == "captured" else PaymentStatus.VOIDED
        _write([payment])
        if standing.state == "captured":
            back = Posting(
                debit=Account.OWED,
                credit=Account.GATEWAY,
                amount=payment.amount,
                currency=payment.currency,
                payment=payment.pk,
            )
            parts = {Account.OWED: payment.amount}
            taken = _of_capture(payment.pk, parts, payment.currency, into=Account.GATEWAY, fee=standing.fee)
            ledger.post([*taken, back])
        locked.news.fact("payment.returned", reservation=locked.reservation, facts=_facts_of_return(payment))
        announce(locked.news)
        payments.labels(payment.status).inc()


def _facts_of_return(payment: Payment) -> dict[str, Any]:
    return {
        "payment": str(payment.pk),
        "amount": payment.amount,
        "currency": payment.currency,
        "reason": payment.reason,
    }


def _ask_after_all(payment: Payment) -> None:
    """It was given up without the gateway's word; what does the gateway say now?

    What is reserved only is let go: the buyer was told that nothing is charged, and asking may be what reserved it (Stripe).
    """
    _touch(payment.pk)
    standing = ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))
    if standing.state in {"unknown", "authorised"}:
        standing = ask_gateway(payment, lambda gateway, attempt: gateway.void(attempt))
    take_notice(payment_id=payment.pk, standing=standing)
    payment.refresh_from_db()


def standing_of(payment: Payment) -> Standing:
    """As the gateway says now. Raises: GatewayTimeout, GatewayUnavailable, BreakerOpen."""
    return ask_gateway(payment, lambda gateway, attempt: gateway.find(attempt))


@transaction.atomic(durable=True)
def take_notice(*, payment_id: uuid.UUID, standing: Standing, unless: Callable[[], bool] = lambda: False) -> None:
    """What the gateway says of an attempt takes effect, in the transaction in which `unless` says that it hasn't yet.

    Whatever is left to do then is `settle_payment`'s. Again, late and out of order are harmless.
    """
    for locked, payment in _lock_all([payment_id]):
        if unless():
            return
        given_up = payment.status in {PaymentStatus.DECLINED, PaymentStatus.FAILED, PaymentStatus.VOIDED}
        if given_up and standing.has_money:
            _take_late(locked, payment, standing)
        elif given_up and payment.reason == SILENT and standing.state in {"declined", "voided"}:
            payment.reason = standing.reason or standing.state
            _write([payment])
        announce(locked.news)


def _take_late(locked: locks.Locked, payment: Payment, standing: Standing) -> None:
    """See Note [Money that comes late]."""
    payment.reference = standing.reference or payment.reference
    reservation = locked.reservation
    log.warning("payment.late", payment=str(payment.pk), reservation=reservation.status)
    paid_otherwise = reservation.status in LIVE and reservation.status != Status.HELD
    if reservation.status == Status.HELD and not reservation.is_over_at(locked.now):
        _write_sales([(locked, payment)])
    elif paid_otherwise or not _sell_again(locked, payment):
        payment.reason = "too_late"
        _lose(locked, payment)


def _sell_again(lost: locks.Locked, payment: Payment) -> bool:
    if lost.reservation.status == Status.HELD:  # it ran out, and nobody swept it
        endings.free(lost, status=Status.EXPIRED, reason="expired")
    sale = _sale_of(lost.reservation, payment)
    found = changes.sell_again(lost, sale=sale.pk)
    if found is None:
        return False
    again, seats = found
    sale.reservation, sale.sold_at, (sale.number,) = again, lost.now, _next_numbers(1)
    sale.save(force_insert=True)
    tickets = Ticket.objects.bulk_create(_tickets_of(sale, seats, _notes_of([sale])))
    payment.status, payment.reason, payment.reservation = PaymentStatus.AUTHORISED, "", again
    _write([payment])
    lost.news.fact(
        "payment.late",
        reservation=lost.reservation,
        facts={"payment": str(payment.pk), "again": str(again.pk), "sale": str(sale.pk)},
    )
    lost.news.sold(again, sale=sale_body(sale, tickets=tickets))
    return True


# --- Telling, and looking after


def _reply(payment_id: uuid.UUID, address: str) -> None:
    if not address:
        return
    try:
        replies.send({address: [(payment_id, payment_outcome(payment_id))]})
    except NoClaims as error:
        log.info("payment.reply_lost", error=repr(error.__cause__))


def payment_outcome(payment_id: uuid.UUID) -> dict[str, Any]:
    """`{"status", "reason", "sale": body or None}`."""
    payment = Payment.objects.get(pk=payment_id)
    sale = sales_of().filter(payment=payment).first()
    return {"status": payment.status, "reason": payment.reason, "sale": sale_body(sale) if sale else None}


def sweep_payments(*, limit: int = 200) -> int:
    """Take up attempts that nobody works on any more, and ask after those that the gateway never spoke of; how many.

    None while this process still sweeps: it is rung every few seconds, and a gateway that hangs would have thread after thread wait.
    """
    if not _sweeping.acquire(blocking=False):
        return 0
    try:
        return _sweep_payments(limit)
    finally:
        _sweeping.release()


def leave_to_the_sweep(payments: Collection[uuid.UUID]) -> None:
    """Let the next sweep take these up: no worker was told of them, so none is at work on one that has only been started."""
    Payment.objects.filter(pk__in=payments, status=PaymentStatus.STARTED).update(changed_at=Now() - SWEEP_AFTER)


def _sweep_payments(limit: int) -> int:
    left = Payment.objects.filter(status__in=UNSETTLED, changed_at__lt=Now() - SWEEP_AFTER)
    silent = Payment.objects.filter(
        status=PaymentStatus.FAILED,
        reason=SILENT,
        changed_at__lt=Now() - ASKED_AGAIN_AFTER,
        started_at__gt=Now() - ASKED_AGAIN_FOR,
    )
    swept = [*_oldest(left, limit), *_oldest(silent, limit)]
    for first in range(0, len(swept), SWEPT_AT_ONCE):
        some = swept[first : first + SWEPT_AT_ONCE]
        log.warning("payments.swept", payments=[str(payment) for payment in some])
        settle_side_by_side(some, then=lambda _payment: None)
    return len(swept)


def _oldest(rows: QuerySet[Payment], limit: int) -> Iterable[uuid.UUID]:
    return rows.order_by("changed_at").values_list("pk", flat=True)[:limit]


def move_seats(*, reservation_id: uuid.UUID, seats: Sequence[str], to: Sequence[str]) -> None:
    """Staff gives a hold or a purchase other free seats at the same price. Tickets go along: same code, still valid.

    Raises: allocation.CannotMove, ReservationExpired, NotHeld, PaymentInProgress, Reservation.DoesNotExist.
    """
    holding.move_seats(reservation_id=reservation_id, seats=seats, to=to, follow=_take_tickets_along)


def _take_tickets_along(locked: locks.Locked, moved: list[tuple[Seat, Seat]]) -> None:
    if locked.reservation.sale_id is None:
        return  # not paid for yet
    sale = sale_locks.lock_sale(locked.reservation.sale_id)
    now_at = {line["seat"]: line for line in locked.reservation.lines}
    new_labels = {old.label: new.label for old, new in moved}
    sale.lines = [now_at.get(new_labels.get(line["seat"], line["seat"]), line) for line in sale.lines]
    sale.save(update_fields=["lines"])
    Sale.objects.filter(pk=sale.pk).note_change()
    new_seats = {old.pk: new for old, new in moved}
    live = [ticket for ticket in sale_locks.lock_tickets(sale) if ticket.status != TicketStatus.VOID]
    tickets = [ticket for ticket in live if ticket.seat_id in new_seats]
    for ticket in tickets:
        assert ticket.seat_id is not None
        ticket.seat = new_seats[ticket.seat_id]
        ticket.ticket_type_id = ticket.seat.ticket_type_id
    Ticket.objects.bulk_update(tickets, ["seat", "ticket_type"])
    locked.news.sold(locked.reservation, sale=sale_body(find_sale(sale.pk, buyer=sale.buyer)))
