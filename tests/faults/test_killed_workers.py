"""Kill payment workers at each step, with messages of RabbitMQ. The next worker gets these again, and all ends."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import subprocess
import sys
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any

import kombu
import pytest
from django.conf import settings as config
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from base.ids import uuid7
from realtime import relay
from realtime.models import Event
from reservations import orders
from reservations.hold_request import ORDER_SCOPE, Ask, HoldRequest, Means
from reservations.models import Reservation, Status
from reservations.operations import queued
from reservations.queueing.queues import Courier, jobs_queue
from sessions_app.models import Seat, Session, TicketType
from tests import services
from tests.api import client_of, get
from tests.conftest import Hold
from tests.factories import SessionFactory, StockFactory
from tests.processes import until
from tests.race.racing import ROUNDS
from tests.race.test_payments import expect_money_conserved
from tests.support.pages import confirmed
from tests.ticketing.test_paying import pay
from tests.ticketing.upkeep.test_audit import audit
from ticketing.letters import mail
from ticketing.models import UNFINISHED, LedgerEntry, Payment, Refund, Sale, SandboxRefund, Ticket
from ticketing.payments import bells, refunds, starting

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.django_db(transaction=True)]

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
PAYING = ("payment.started", "payment.authorised", "payment.sold", "payment.captured", "payment.given_back")
PAYING_BACK = ("refund.asked", "refund.paid_back")
SALES = 15 * min(ROUNDS, 20)  # sales of the called-off session
TOGETHER = 2  # attempts of one message, which share transactions


class Crew:
    """Control payment workers, and their queue."""

    def __init__(self, program: subprocess.Popen[str], broker: str) -> None:
        self.program = program
        self.courier = Courier(broker)
        self.broker = kombu.Connection(broker)
        self.queue = jobs_queue("payments")
        self.queue(self.broker.default_channel).declare()

    def order(self, line: str) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write(f"{line}\n")
        self.program.stdin.flush()

    def report(self) -> list[str]:
        assert self.program.stdout is not None
        return self.program.stdout.readline().split()

    def wait_for(self, workers: int) -> None:
        """Wait until this many listen, so that RabbitMQ gives each its share."""

        def listening() -> int:
            return int(self.broker.default_channel.queue_declare(self.queue.name, passive=True).consumer_count)

        until(lambda: listening() == workers, seconds=60, what=f"{workers} workers listening")

    def ring(self, task: str, **arguments: Any) -> None:
        self.courier.send(f"ticketing.tasks.{task}", self.queue, **arguments)


@pytest.fixture
def crew(settings: Any) -> Iterator[Crew]:
    broker = services.current().rabbitmq_url
    settings.KEY_PREFIX = f"test-{uuid.uuid4().hex[:8]}"
    url = urllib.parse.urlsplit(config.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": url,
        "RABBITMQ_URL": broker,
        "QUEUE": "rabbitmq",
        "KEY_PREFIX": settings.KEY_PREFIX,
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "tests.faults.workers"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        made = Crew(program, broker)
        yield made
        made.queue(made.broker.default_channel).delete()
        made.broker.release()
        made.courier.close()


@pytest.fixture
def arena(transactional_db: None) -> TicketType:
    made: TicketType = StockFactory.create(capacity=500)
    return made


@pytest.fixture
def called_off(transactional_db: None) -> TicketType:
    """Provide a session that is called off once its buyers have begun to pay."""
    made: TicketType = StockFactory.create(capacity=500)
    return made


def held(hold: Hold, places: TicketType, **more: Any) -> Reservation:
    return hold(places.session, buyer=uuid.uuid4(), ticket_type=places.pk, quantity=1, **more)


def begun(reservation: Reservation, token: str = "ok") -> Payment:
    return starting.start_payment(reservation_id=reservation.pk, buyer=reservation.buyer, method="fake", token=token)


def killed(crew: Crew, points: Sequence[str], messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Kill a worker at each of these points; each gets its share of the messages."""
    crew.order(f"die {' '.join(points)}")
    crew.wait_for(len(points))
    for task, arguments in messages:
        crew.ring(task, **arguments)
    assert crew.report() == ["SIGKILL"] * len(points)


def allocated_by_the_next(crew: Crew) -> None:
    """Let a living worker take the messages that RabbitMQ delivers again, and sweep."""
    crew.order("live")
    assert crew.report() == ["live"]

    def all_ended() -> bool:
        past = timezone.now() - dt.timedelta(minutes=2)
        Payment.objects.update(changed_at=past)
        Refund.objects.update(changed_at=past)
        Reservation.objects.filter(status=Status.HELD).update(changed_at=past)
        crew.ring("sweep_payments")
        waiting = Reservation.objects.filter(status=Status.HELD, payment__isnull=False)
        return not (
            Payment.objects.filter(status__in=UNFINISHED).exists()
            or Refund.objects.filter(status="asked").exists()
            or waiting.exists()
        )

    until(all_ended, seconds=60, every=0.5, what="the end of every attempt")


def expect_sound() -> None:
    Payment.objects.update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    Event.objects.update(published_at=Now())
    assert audit()["findings"] == []


def test_every_attempt_ends_and_its_buyer_reads_how(
    crew: Crew, hold: Hold, arena: TicketType, called_off: TicketType
) -> None:
    points = [*PAYING, *PAYING_BACK]
    alone = [begun(held(hold, arena)) for _point in points]
    together = [[begun(held(hold, arena)) for _one in range(TOGETHER)] for _point in points]
    declined = [begun(held(hold, arena), "declined") for _point in points]
    lost = [begun(held(hold, called_off)) for _point in points]
    Session.objects.filter(pk=called_off.session_id).update(cancelled_at=Now())
    sold = [Sale.objects.get(payment=pay(held(hold, arena))) for _point in points]
    back = [refunds.ask_refund(sale_id=sale.pk, buyer=sale.buyer) for sale in sold]
    killed(
        crew,
        points,
        [
            *(("settle_payment", {"payment": str(payment.pk)}) for payment in [*alone, *declined, *lost]),
            *(("settle_payments", {"payments": [(str(one.pk), "") for one in some]}) for some in together),
            *(("pay_back", {"refund": str(refund.pk)}) for refund in back),
        ],
    )
    allocated_by_the_next(crew)

    ended = dict(Payment.objects.values_list("pk", "status"))
    assert {ended[payment.pk] for payment in [*alone, *itertools.chain(*together)]} == {"captured"}
    assert {ended[payment.pk] for payment in declined} == {"declined"}
    assert {ended[payment.pk] for payment in lost} == {"voided"}
    assert set(Refund.objects.values_list("status", flat=True)) == {"paid_back"}
    expect_money_conserved()
    for payment in alone:
        body = get(client_of(payment.reservation.buyer), f"/reservations/{payment.reservation_id}").json()
        assert (body["status"], len(body["sale"]["tickets"])) == ("confirmed", 1)
    assert set(Reservation.objects.filter(payments__in=declined).values_list("status", flat=True)) == {Status.HELD}
    expect_sound()


def test_every_order_ends_and_its_buyer_reads_how(
    crew: Crew, hold: Hold, arena: TicketType, called_off: TicketType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "pay_in_process", None)

    def ordered(places: TicketType) -> Reservation:
        means = Means(method="fake", token="ok")
        return held(hold, places, scope=ORDER_SCOPE, key=uuid.uuid4().hex, payment=means)

    good = [[ordered(arena) for _one in range(TOGETHER)] for _point in PAYING]
    lost = [ordered(called_off) for _point in PAYING]
    Session.objects.filter(pk=called_off.session_id).update(cancelled_at=Now())
    messages = [*good, *([order] for order in lost)]
    killed(crew, PAYING, [("pay_orders", {"orders": [(str(one.pk), "") for one in some]}) for some in messages])
    allocated_by_the_next(crew)

    for order in itertools.chain(*good):
        body = get(client_of(order.buyer), f"/orders/{order.pk}").json()
        assert (body["status"], len(body["sale"]["tickets"])) == ("COMPLETED", 1)
    for order in lost:
        body = get(client_of(order.buyer), f"/orders/{order.pk}").json()
        assert (body["status"], body["reason"]) == ("FAILED", "session_cancelled")
    assert Sale.objects.count() == TOGETHER * len(good)
    expect_money_conserved()
    expect_sound()


def test_a_called_off_session_refunds_all_buyers_though_its_worker_is_killed(
    crew: Crew, admin_client: Client, mailoutbox: list[EmailMessage], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SessionFactory.create(seats=(18, 18))
    labels = list(Seat.objects.of(session.pk).values_list("label", flat=True))
    queued.allocate([wanted(session, label) for label in labels[:SALES]])
    queued.allocate([wanted(session, label, to_pay=False) for label in labels[SALES:]])
    assert (Sale.objects.count(), Reservation.objects.filter(status=Status.HELD).count()) == (SALES, 324 - SALES)

    settings.QUEUE = "rabbitmq"  # from here on another process handles messages
    monkeypatch.setattr(bells, "courier", lambda: crew.courier)
    crew.order("live")
    assert crew.report() == ["live"]
    chosen = {"action": "call_off_and_refund", "_selected_action": [session.pk]}
    confirmed(admin_client, reverse("admin:sessions_app_session_changelist"), chosen)
    until(lambda: refunds.progress(session.pk).paid_back > SALES // 10, seconds=60, what="the first who are paid back")
    crew.order("rest")
    assert crew.report() == ["rest"]
    half = refunds.progress(session.pk)
    assert SALES // 10 < half.paid_back < SALES
    page = admin_client.get(reverse("admin:sessions_app_session_change", args=[session.pk])).content.decode()
    assert f"{half.paid_back} of {SALES} sales" in page

    crew.order("live")
    assert crew.report() == ["live"]
    Refund.objects.filter(status="asked").update(changed_at=timezone.now() - dt.timedelta(minutes=2))
    crew.ring("sweep_payments")
    out = StringIO()
    call_command("refund_session", str(session.pk), stdout=out)
    assert f"{SALES} of {SALES} sales paid back" in out.getvalue()
    page = admin_client.get(reverse("admin:sessions_app_session_change", args=[session.pk])).content.decode()
    assert f"{SALES} of {SALES} sales" in page

    assert Refund.objects.count() == SandboxRefund.objects.count() == SALES
    assert set(Seat.objects.of(session.pk).values_list("status", flat=True)) == {"f"}
    assert not Ticket.objects.exclude(status="void").exists()
    expect_money_conserved()
    assert LedgerEntry.objects.filter(account="owed").aggregate(sum=Sum("amount")) == {"sum": 0}
    expect_sound()
    for event in Event.objects.filter(name="sale.refunded"):
        mail.send_for(relay.message(event))
    told = Counter(address for letter in mailoutbox for address in letter.to)
    assert told == Counter(dict.fromkeys(Sale.objects.values_list("email", flat=True), 1))
    assert "called off" in mailoutbox[0].body


def wanted(session: Session, seat: str, *, to_pay: bool = True) -> HoldRequest:
    """Return a queued request for a seat."""
    means = Means(method="fake", token="ok", email=f"{seat.lower()}@example.org")
    ask = Ask(
        session=session.pk,
        seats=(seat,),
        scope=ORDER_SCOPE if to_pay else "",
        key=seat,
        payment=means if to_pay else None,
    )
    return HoldRequest.of(ask, reservation=uuid7(), buyer=uuid.uuid4(), arrival=1, accepted_at=timezone.now())
