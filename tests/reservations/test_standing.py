"""A stored request is answered as stored, though each step after that fails, one by one.

See Note [The answer stands].
"""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from django.db import DatabaseError

from config import wsgi
from config.web import idempotency, middleware, pages, short_way
from reservations import metrics, orders, queries
from reservations.admission import entries, front_door
from reservations.admission.entries import OutcomeUnknown
from reservations.admission.front_door import FrontDoor
from reservations.api import views
from reservations.claims import claims, keys, standings
from reservations.hold_request import Ask, HoldRequest
from reservations.models import InboxRequest, Reservation
from reservations.operations import holding
from reservations.queueing import inbox, liveness, replies
from reservations.queueing.queues import InboxQueue, QueueDown
from sessions_app.models import Session, TicketType
from tests.api import client_of, post
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from ticketing import queries as sales
from ticketing.api import gate as gate_api
from ticketing.api import sales as ticketing
from ticketing.api import tickets
from ticketing.models import Payment, Refund, User
from ticketing.payments import bells, paying, steps

pytestmark = pytest.mark.django_db(transaction=True)


class Fault(Exception):
    """An error that no step expects."""


def fail(*_arguments: Any, **_more: Any) -> Any:
    raise Fault


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Fault]:
    """Let the first call fail; the list is empty once it was made."""
    original, failures = getattr(owner, name), [Fault()]

    def first_fails(*arguments: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, first_fails)
    return failures


@pytest.fixture
def stock(session: Session) -> TicketType:
    made: TicketType = StockFactory.create(session=session, capacity=100)
    return made


def client_of_server(buyer: uuid.UUID | User) -> Any:
    """Return a client that gets the server's answer, not the exception behind it."""
    client = client_of(buyer)
    client.raise_request_exception = False
    return client


def use_door(monkeypatch: pytest.MonkeyPatch, door: FrontDoor) -> FrontDoor:
    monkeypatch.setattr(front_door, "door", lambda: door)
    return door


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> InboxQueue:
    """Use the inbox, where a test sees what is stored; no worker is rung."""
    line = InboxQueue()
    monkeypatch.setattr(line, "ring", lambda _shard: None)
    return line


def asked_by_server(
    application: Callable[..., Any], client: Any, path: str, body: Any, **headers: str
) -> tuple[int, str]:
    """Return what a server gets that calls the site as servers do."""
    heads: list[str] = []
    environ = client._base_environ(  # noqa: SLF001 as its own `post` does
        PATH_INFO=f"/api/v1{path}",
        REQUEST_METHOD="POST",
        **client._credentials,  # noqa: SLF001
        **headers,
    )
    content = msgspec.json.encode(body)
    environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(content))}
    environ["wsgi.input"] = io.BytesIO(content)
    said = b"".join(application(environ, lambda status, *_more: heads.append(status)))
    return int(heads[0].split()[0]), said.decode()


ROADS = {"short": "application", "long": "django"}
# Every step between storing a request and handing its answer to the server
STEPS: dict[str, tuple[Any, str]] = {
    "noting the answer for its key": (claims, "answer_given"),
    "counting what is admitted": (metrics.admitted, "labels"),
    "telling what is queued": (queries, "queued_body"),
    "telling it as an order": (orders, "body"),
    "encoding the answer": (views, "written"),
    "finishing the view": (views.DoorView, "finalize_response"),
    "logging the request": (middleware, "_tell"),
    "counting the request": (middleware, "_count"),
}


@pytest.mark.parametrize("path", ["/orders", "/reservations"])
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("step", STEPS)
def test_stored_request_is_answered_202_after_any_failure(
    step: str, road: str, path: str, stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_door(monkeypatch, FrontDoor(queue=line, fallback=None))
    if step == "encoding the answer":  # the acceptance is encoded too
        fail_once(monkeypatch, *STEPS[step])
    else:
        monkeypatch.setattr(*STEPS[step], fail)
    client = client_of(uuid.uuid4())
    named = {} if path == "/orders" else {"session": str(stock.session_id)}
    body = {**named, "ticket_type": str(stock.pk), "quantity": 1}
    application = getattr(wsgi, ROADS[road])
    status, said = asked_by_server(application, client, path, body, HTTP_IDEMPOTENCY_KEY="k")
    (stored,) = InboxRequest.objects.all()
    assert (status, str(stored.pk) in said) == (202, True), said


def test_connection_that_cannot_be_given_back_spoils_no_answer(
    stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_door(monkeypatch, FrontDoor(queue=line, fallback=None))
    monkeypatch.setattr(short_way, "close_old_connections", fail)
    body = {"ticket_type": str(stock.pk), "quantity": 1}
    for application in (wsgi.application, wsgi.django):
        status, _said = asked_by_server(application, client_of(uuid.uuid4()), "/orders", body, HTTP_IDEMPOTENCY_KEY="k")
        assert status == 202


# Every step between an awaited outcome and its answer
WAITED: dict[str, tuple[Any, str]] = {
    "reading the first of a key": (views.DoorView, "first_of"),
    "telling the outcome": (views.DoorView, "allocated"),
    "finding the reason of a loss": (views, "refusal"),
    "keeping the answer": (front_door, "keep_answer"),
}


@pytest.mark.parametrize("step", WAITED)
def test_allocated_request_is_answered_202_if_its_outcome_is_lost(
    step: str, session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
    if step == "finding the reason of a loss":
        reserved = hold(session, "A1", buyer=uuid.uuid4())
        claims.client().delete(keys.claim_key(session.pk, "A1"))
        assert reserved.status == "held"
    monkeypatch.setattr(*WAITED[step], fail)
    client = client_of_server(ana)
    body = {"session": str(session.pk), "seats": ["A1"]}
    answer = post(client, "/reservations", body, prefer="wait=5", idempotency_key="k")
    assert answer.status_code == 202, answer.content
    assert Reservation.objects.filter(pk=answer.json()["id"], buyer=ana).exists()
    monkeypatch.undo()
    again = post(client, "/reservations", body, idempotency_key="k")
    assert again.status_code < 500, "a failure was kept as the key's answer"
    assert Reservation.objects.filter(buyer=ana).count() == 1


# --- Paying and giving back

PAYING: dict[str, tuple[Any, str]] = {
    "ringing a worker": (paying, "ring_payment"),
    "opening the desk of replies": (replies, "desk"),
    "looking for the outcome": (steps, "payment_outcome"),
    "telling the outcome": (paying, "_sale_in"),
    "keeping the answer": (idempotency, "_keep"),
}


@pytest.mark.parametrize("step", PAYING)
def test_started_payment_is_answered_as_under_way_after_any_failure(
    step: str, session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(session, "A1", buyer=ana)
    monkeypatch.setattr(*PAYING[step], fail)
    body = {"payment": {"method": "fake", "token": "ok"}}
    answer = post(client_of_server(ana), f"/reservations/{held.pk}/pay", body, prefer="wait=1", idempotency_key="k")
    assert answer.status_code in {200, 202}, answer.content
    assert Payment.objects.filter(reservation=held).count() == 1


@pytest.mark.parametrize("step", [(ticketing, "ring_refund"), (sales, "refund_body"), (sales, "sale_body_of")])
def test_requested_refund_is_answered_202_after_any_failure(
    step: tuple[Any, str], session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.refund_minutes = 1
    session.save()
    held = hold(session, "A1", buyer=ana)
    body = {"payment": {"method": "fake", "token": "ok"}}
    sale = post(client_of(ana), f"/reservations/{held.pk}/pay", body, prefer="wait=5").json()
    held.refresh_from_db()
    assert held.sale_id, sale
    monkeypatch.setattr(*step, fail)
    answer = post(client_of_server(ana), f"/sales/{held.sale_id}/refund", {})
    assert answer.status_code == 202, answer.content
    assert answer.json()["refund"]["id"] == str(Refund.objects.get().pk)


@pytest.mark.usefixtures("doors_open")
def test_used_or_transferred_ticket_stays_so_after_any_failure(
    session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"payment": {"method": "fake", "token": "ok"}}
    held = hold(session, "A1", "A2", buyer=ana)
    used, passed = post(client_of(ana), f"/reservations/{held.pk}/pay", body, prefer="wait=5").json()["sale"]["tickets"]
    gate = UserFactory.create(is_staff=True, is_superuser=True)
    with monkeypatch.context() as fault:
        fault.setattr(gate_api, "checked_in", fail)
        answer = post(client_of_server(gate), "/checkins", {"code": used["code"]})
        assert (answer.status_code, answer.json()["status"]) == (200, "used"), answer.content
    receiver = str(uuid.uuid4())
    with monkeypatch.context() as fault:
        fault.setattr(tickets, "Response", fail)
        answer = post(client_of_server(ana), f"/tickets/{passed['id']}/transfer", {"buyer": receiver})
        assert (answer.status_code, answer.json()["receiver"]) == (200, receiver), answer.content


@pytest.mark.parametrize(
    "step", [(pages.SessionMiddleware, "process_response"), (pages.XFrameOptionsMiddleware, "process_response")]
)
def test_form_leads_on_after_any_failure(
    step: tuple[Any, str], session: Session, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*step, fail)
    client.raise_request_exception = False
    answer = client.post(f"/sessions/{session.pk}/hold", {"seats": ["A1"], "key": "k"})
    assert (answer.status_code, answer["Location"]) == (302, f"/reservations/{Reservation.objects.get().pk}")


@pytest.mark.parametrize("step", [(standings, "upkeep"), (replies, "send"), (orders, "ring")])
def test_operation_is_done_though_a_message_fails(
    step: tuple[Any, str], session: Session, hold: Hold, ana: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(session, "A1", buyer=ana)
    monkeypatch.setattr(*step, fail)
    holding.release(reservation_id=held.pk, buyer=ana)
    held.refresh_from_db()
    assert held.status == "cancelled"


def test_broken_doorbell_spoils_no_payment(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.QUEUE = "rabbitmq"
    monkeypatch.setattr(bells, "courier", fail)
    bells.ring_payment(uuid.uuid4())
    monkeypatch.setattr(orders, "courier", fail)
    orders.ring([(uuid.uuid4(), "")])


# --- At admission


def enter(door: FrontDoor, stock: TicketType, monkeypatch: pytest.MonkeyPatch, **more: Any) -> entries.Admission:
    use_door(monkeypatch, door)
    ask = Ask(session=stock.session_id, ticket_type=stock.pk, quantity=1, **more)
    return front_door.admit(ask, buyer=uuid.uuid4())


class Careless:
    """A queue that stores, and then fails in an unknown way."""

    name = "rabbitmq"
    is_down = False

    def __init__(self) -> None:
        self.requests: list[HoldRequest] = []

    def open_epoch(self, _shards: Any) -> None:
        pass

    def publish(self, requests: Sequence[HoldRequest]) -> None:
        self.requests += requests
        raise Fault


class TestFrontDoor:
    def test_uses_the_other_queue_after_an_unknown_failure(
        self, stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        careless = Careless()
        admission = enter(FrontDoor(queue=careless, fallback=line), stock, monkeypatch)
        assert [request.id for request in careless.requests] == [admission.id]
        assert inbox.find(admission.id) == admission.request

    def test_answers_unknown_if_a_queue_may_have_the_request(
        self, stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbox, "store", fail_as_database)
        with pytest.raises(OutcomeUnknown):
            enter(FrontDoor(queue=Careless(), fallback=line), stock, monkeypatch)

    def test_answers_not_stored_if_that_is_certain(
        self, stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbox, "store", fail_as_database)
        with pytest.raises(QueueDown) as refused:
            enter(FrontDoor(queue=line, fallback=None), stock, monkeypatch)
        assert not isinstance(refused.value, OutcomeUnknown)

    def test_stores_no_request_that_it_answered_503_in_time(
        self, stock: TicketType, line: InboxQueue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        door = FrontDoor(queue=line, fallback=None)
        busy = threading.Event()
        serve = door.serve

        def serve_later(batch: Sequence[entries.Entry]) -> None:
            busy.wait(10)
            serve(batch)

        monkeypatch.setattr(door, "serve", serve_later)
        monkeypatch.setattr(entries, "ANSWER_SECONDS", 0.3)
        with pytest.raises(OutcomeUnknown):  # the front door is storing it
            enter(door, stock, monkeypatch)
        with pytest.raises(QueueDown) as refused:
            enter(door, stock, monkeypatch)
        assert not isinstance(refused.value, OutcomeUnknown)
        busy.set()
        monkeypatch.setattr(entries, "ANSWER_SECONDS", 15)
        third = enter(door, stock, monkeypatch)
        assert InboxRequest.objects.count() == 2
        assert inbox.find(third.id)


def fail_as_database(*_arguments: Any, **_more: Any) -> None:
    raise DatabaseError("PostgreSQL said no")
