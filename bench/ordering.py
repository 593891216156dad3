"""Buying in one step: how long until a crowd has its tickets, and that exactly as many bought as there was stock."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.utils import timezone

from bench import truth
from bench.contest import Contest, Event
from bench.figures import Figure, Sample
from bench.processes import Process
from bench.stage import LONG_HOLD, Load, Stage, request
from sessions_app.models import TicketType
from sessions_app.operations import NewTicketType, create_session

CONNECTIONS = 200


def on_sale(places: int) -> TicketType:
    """So many places without a number, in a session of their own."""
    session = create_session(
        show="The rush",
        starts_at=timezone.now() + dt.timedelta(days=1),
        price=2500,
        hold_seconds=LONG_HOLD,
        max_hold_seconds=2 * LONG_HOLD,
        ticket_types=[NewTicketType(name="Floor", price=2500, capacity=places)],
    )
    return TicketType.objects.get(session=session, capacity=places)


def ordering(kind: TicketType) -> str:
    """One place, paid in the same breath, by somebody nobody has been before."""
    body: dict[str, object] = {
        "ticket_type": str(kind.pk),
        "quantity": 1,
        "payment": {"method": "fake", "token": "ok"},
    }
    return request(body, path="/api/v1/orders", key=uuid.uuid4().hex)


def rush(stage: Stage, webs: list[Process], *, requests: int, places: int) -> tuple[Load, float]:
    """The answers, and the seconds from the first request until the last order has its end."""
    kind = on_sale(places)
    asks = [ordering(kind) for _buyer in range(requests)]
    with closing(truth.Ledger(stage, kind.session_id)) as ledger:
        load = stage.run(asks, webs=webs, connections=CONNECTIONS, look=ledger.finished)
        promised = set(truth.accepted(load))
        if ledger.finished() >= len(promised):
            seconds = load.settled_after
        else:
            stage.wait(lambda: ledger.finished() >= len(promised), seconds=truth.PATIENCE, what="the end of every 202")
            seconds = load.seconds_since_start()
        stage.wait(lambda: not ledger.open_payments(), seconds=truth.PATIENCE, what="every capture")
        judge(stage, load, ledger, kind, places=places, requests=requests)
    truth.audit(stage)
    return load, seconds


def judge(stage: Stage, load: Load, ledger: truth.Ledger, kind: TicketType, *, places: int, requests: int) -> None:
    """Every answer counted: bought, or told that nothing is left, at once or in the end."""
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
    left = TicketType.objects.values_list("available", flat=True).get(pk=kind.pk)
    stage.expect(left == 0, f"{left} places are left")


@contextmanager
def orders(stage: Stage) -> Iterator[Contest]:
    """Four people want each place."""
    webs = stage.whole()
    rush(stage, webs, requests=200, places=50)

    def everybody() -> Sample:
        load, seconds = rush(stage, webs, requests=stage.sized(20_000), places=stage.sized(5_000))
        return load.sample(orders=seconds, orders_answered=load.rate(202, 409))

    yield Contest(ours=everybody)


EVENTS = (
    Event(
        name="orders",
        figures=(Figure(name="orders", unit="s", at_most=8), Figure(name="orders_answered", unit="answers/s")),
        open=orders,
    ),
)
