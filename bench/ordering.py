"""Measure buying in one step: when a crowd has its tickets and knows it, and that exactly the stock is sold."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

from django.db import connection
from django.utils import timezone

from bench import truth
from bench.buyers import Buyers
from bench.contest import Contest, Event
from bench.figures import Figure, Sample, percentile
from bench.generator import Answer
from bench.processes import NotInTimeError, Process
from bench.stage import LONG_HOLD, Load, Stage, request
from sessions_app.models import TicketType
from sessions_app.new_prices import NewTicketType
from sessions_app.operations import create_session
from ticketing import identity

CONNECTIONS = 200
LISTENERS = 300  # buyers with a socket each
TOLD_WITHIN = 10.0  # seconds; news that comes later counts as lost


def on_sale(places: int) -> TicketType:
    """Put unnumbered places on sale, in a session of their own."""
    session = create_session(
        show="The rush",
        starts_at=timezone.now() + dt.timedelta(days=1),
        price=2500,
        hold_seconds=LONG_HOLD,
        max_hold_seconds=2 * LONG_HOLD,
        ticket_types=[NewTicketType(name="Floor", price=2500, capacity=places)],
    )
    kind = TicketType.objects.get(session=session, capacity=places)
    connection.close()  # back to the pool, which checks it
    return kind


def ordering(kind: TicketType, *, access: str | None = None) -> str:
    """Return an order of one place with its payment, from a new guest unless `access` is a token."""
    body: dict[str, object] = {
        "ticket_type": str(kind.pk),
        "quantity": 1,
        "payment": {"method": "fake", "token": "ok"},
    }
    return request(body, path="/api/v1/orders", key=uuid.uuid4().hex, access=access)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rush:
    """Hold a rush. `seconds` run from the first request until the last order had its end."""

    load: Load
    seconds: float
    orders: int

    @property
    def cost(self) -> float:
        """Return the processor milliseconds per order, also a refused one, of all processes but the load generator."""
        return 1000 * sum(spent for name, spent in self.load.cpu.items() if name != "generator") / self.orders

    def between(self, began: float, ended: float) -> list[Answer]:
        """Return the answers to requests that were sent in this time, by the clock of `time.monotonic`."""
        start = self.load.report.started
        return [answer for answer in self.load.answers if began <= start + answer.began <= ended]


def rush(
    stage: Stage,
    webs: list[Process],
    *,
    requests: int,
    places: int,
    rate: float | None = None,
    meanwhile: Callable[[int], object] = int,
) -> Rush:
    """Run a rush. `meanwhile` is called again and again with the number of finished orders."""
    kind = on_sale(places)
    asks = (ordering(kind) for _buyer in range(requests))
    with closing(truth.Ledger(stage, kind.session_id)) as ledger, stage.meter.measure() as cpu:

        def look() -> int:
            finished = ledger.finished_as_last_seen()
            meanwhile(finished)
            return finished

        load = stage.run(asks, webs=webs, connections=CONNECTIONS, rate=rate, look=look)
        promised = set(truth.accepted(load))
        if look() >= len(promised):
            seconds = load.allocated_after
        else:
            stage.wait(lambda: look() >= len(promised), seconds=truth.PATIENCE, what="the end of every 202")
            seconds = load.seconds_since_start()
        stage.wait(lambda: not ledger.open_payments(), seconds=truth.PATIENCE, what="every capture")
    cpu["generator"] = load.cpu["generator"]
    with closing(truth.Ledger(stage, kind.session_id)) as ledger:
        judge(stage, load, ledger, places=places, requests=requests)
    truth.audit(stage)
    stage.all_live()
    return Rush(load=dataclasses.replace(load, cpu=cpu), seconds=seconds, orders=requests)


def judge(stage: Stage, load: Load, ledger: truth.Ledger, *, places: int, requests: int) -> None:
    """Check that every request was answered: bought, or refused as sold out, at once or in the end."""
    stage.expect(len(load.answers) == requests, f"{len(load.answers):,} of {requests:,} were answered")
    truth.only(stage, load, 202, 409, who="orders")
    refused = {str(body.get("code")) for body in load.bodies(409)}
    stage.expect(refused <= {"sold_out"}, f"refused for {refused}")
    outcomes = ledger.outcomes()
    for fault in truth.faults(outcomes, truth.accepted(load)):
        stage.expect(False, fault)
    bought = [outcome for outcome in outcomes if outcome.status == "confirmed"]
    lost = [outcome for outcome in outcomes if (outcome.status, outcome.reason) == ("rejected", "sold_out")]
    stage.expect(len(bought) == places, f"{len(bought):,} of {places:,} places were bought")
    stage.expect(len(bought) + len(lost) + load.statuses[409] == requests, "some orders ended otherwise")
    if lost:
        first = min(outcome.arrival for outcome in lost)
        late = [outcome for outcome in bought if outcome.arrival > first]
        stage.expect(not late, f"{len(late):,} bought who came after somebody was refused")
    stage.expect(ledger.left() == 0, f"{ledger.left():,} places are left")
    stage.expect(ledger.tickets() == places, f"{ledger.tickets():,} tickets are paid for, not {places:,}")


@contextmanager
def orders(stage: Stage) -> Iterator[Contest]:
    """Measure a rush in which four buyers want each place."""
    webs = stage.whole()
    rush(stage, webs, requests=200, places=50)

    def everybody() -> Sample:
        found = rush(stage, webs, requests=stage.sized(20_000), places=stage.sized(5_000))
        return found.load.sample(orders=found.seconds, orders_answered=found.load.rate(202, 409))

    yield Contest(ours=everybody)


# --- orders_told


@contextmanager
def orders_told(stage: Stage) -> Iterator[Contest]:
    """Measure the maximum first, then half of that, evenly, while some of the buyers listen."""
    webs = stage.whole()
    live = stage.live()
    rush(stage, webs, requests=200, places=200)

    def half() -> Sample:
        most = stage.sized(3_000)
        rate = most / rush(stage, webs, requests=most, places=most).seconds / 2
        number = max(LISTENERS if not stage.quick else 20, int(rate * (2 if stage.quick else 10)))
        return evenly(stage, webs, live, number=number, rate=rate)

    yield Contest(ours=half)


def evenly(stage: Stage, webs: list[Process], live: Process, *, number: int, rate: float) -> Sample:
    """Send orders evenly, and check that all are bought.

    For some, measure the time from the end by PostgreSQL until the buyer's socket had it.
    """
    kind = on_sale(number)
    guests = {index: identity.new_guest() for index in range(0, number, math.ceil(number / LISTENERS))}
    tokens = {index: identity.issue_tokens(guest)["access"] for index, guest in guests.items()}
    sockets = {guest.id: tokens[index] for index, guest in guests.items()}
    asks = [ordering(kind, access=tokens.get(index)) for index in range(number)]
    with (
        closing(truth.Ledger(stage, kind.session_id)) as ledger,
        Buyers(live.port or 0, sockets) as buyers,
    ):
        load = stage.run(asks, webs=webs, connections=CONNECTIONS, rate=rate, look=ledger.finished)
        stage.wait(lambda: ledger.finished() >= number, seconds=truth.PATIENCE, what="the end of every order")
        stage.wait(lambda: not ledger.open_payments(), seconds=truth.PATIENCE, what="every capture")
        judge(stage, load, ledger, places=number, requests=number)
        ended = ledger.ended_at(buyers_orders(load, tokens))
        with contextlib.suppress(NotInTimeError):
            stage.wait(lambda: len(buyers.heard) >= len(ended), seconds=TOLD_WITHIN, what="every outcome being told")
    stage.expect(len(ended) == len(tokens), f"{len(tokens) - len(ended)} listeners have no order")
    untold = [name for name in ended if name not in buyers.heard]
    stage.expect(not untold, f"{len(untold)} of {len(ended)} outcomes were never told")
    waits = [(buyers.heard[name] - at) * 1000 for name, at in ended.items() if name in buyers.heard]
    stage.note({"listeners": len(waits), "sent_away": buyers.sent_away, "slowest_ms": round(max(waits), 1)})
    truth.audit(stage)
    return load.sample(
        orders_told=percentile(waits, 99), orders_told_median=percentile(waits, 50), orders_told_rate=rate
    )


def buyers_orders(load: Load, tokens: Mapping[int, str]) -> list[str]:
    answers = (answer for answer in load.answers if answer.index in tokens and answer.status == 202)
    return [str(json.loads(answer.body)["id"]) for answer in answers]


EVENTS = (
    Event(
        name="orders",
        figures=(Figure(name="orders", unit="s", at_most=8), Figure(name="orders_answered", unit="answers/s")),
        open=orders,
    ),
    Event(
        name="orders_told",
        figures=(
            Figure(name="orders_told", unit="ms, 99 of 100", at_most=250),
            Figure(name="orders_told_median", unit="ms, median"),
            Figure(name="orders_told_rate", unit="orders/s meanwhile"),
        ),
        open=orders_told,
    ),
)
