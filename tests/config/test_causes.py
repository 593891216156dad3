"""Check that events, log lines and letters name the request or job that caused them, and the actor."""

from __future__ import annotations

import datetime as dt
from uuid import UUID, uuid4

import pytest
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from structlog.testing import capture_logs

from base import causes
from base.causes import Cause
from realtime import events, relay
from realtime.models import Event
from reservations.admission import front_door
from reservations.hold_request import Ask
from reservations.models import Reservation
from reservations.operations import queued, sweeps
from reservations.queueing import inbox
from reservations.queueing.queues import InboxQueue
from sessions_app.models import Session
from tests.api import client_of, post
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.reservations.test_holding import run_out
from ticketing.letters import mail
from ticketing.models import Payment, Sale, User
from ticketing.payments import refunds, starting, steps, sweeping, together

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT = {"method": "fake", "token": "ok"}


def why(name: str) -> tuple[str, UUID | None]:
    """Return the cause and the actor of the newest event of that name."""
    event = Event.objects.filter(name=name).latest("id")
    return event.cause, event.actor


@pytest.fixture
def owner() -> User:
    made: User = UserFactory.create(username="owner", is_staff=True, is_superuser=True)
    return made


class TestARequest:
    def test_request_names_its_id_and_its_buyer_in_all_that_comes_of_it(self, session: Session) -> None:
        buyer = uuid4()
        client = client_of(buyer)

        held = post(client, "/reservations", {"session": str(session.pk), "seats": ["A1"]}, x_request_id="ask-1")
        assert why("reservation.held") == why("seat.held") == ("ask-1", buyer)

        name = held.json()["id"]
        post(client, f"/reservations/{name}/extend", {}, x_request_id="more-time-2")
        assert why("reservation.extended") == ("more-time-2", buyer)

        post(client, f"/reservations/{name}/pay", {"payment": PAYMENT}, x_request_id="pay-3")
        for event in ("reservation.confirmed", "seat.sold", "payment.captured"):
            assert why(event) == ("pay-3", buyer)

    def test_request_that_is_given_up_names_the_request_that_gave_it_up(self, session: Session, hold: Hold) -> None:
        buyer = uuid4()
        held = hold(session, "A1", buyer=buyer)

        client_of(buyer).delete(f"/api/v1/reservations/{held.pk}", headers={"X-Request-ID": "never-mind"})

        assert why("reservation.cancelled") == why("seat.released") == ("never-mind", buyer)

    def test_request_of_an_order_is_kept_until_its_money_is_taken(self, session: Session) -> None:
        buyer = uuid4()
        body = {"session": str(session.pk), "seats": ["B1"], "payment": PAYMENT}

        post(client_of(buyer), "/orders", body, idempotency_key="one", x_request_id="order-1")

        assert why("reservation.held") == why("reservation.confirmed") == why("payment.captured") == ("order-1", buyer)

    def test_request_with_an_insane_id_gets_one_of_ours(self, session: Session) -> None:
        sent = "x\r\nSet-Cookie: a=b"
        body = {"session": str(session.pk), "seats": ["A1"]}

        answer = post(client_of(uuid4()), "/reservations", body, x_request_id=sent)

        assert why("reservation.held")[0] == answer.headers["X-Request-ID"]
        assert UUID(answer.headers["X-Request-ID"])

    def test_request_of_a_client_cannot_pose_as_a_job(self, session: Session) -> None:
        body = {"session": str(session.pk), "seats": ["A1"]}

        post(client_of(uuid4()), "/reservations", body, x_request_id="job:expiry")

        assert not why("reservation.held")[0].startswith("job:")


class TestABatch:
    def test_batch_names_each_request_of_its_own_and_the_map_only_what_all_share(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(InboxQueue, "ring", lambda *_: None)
        waits = front_door.FrontDoor(queue=InboxQueue(), fallback=None)
        monkeypatch.setattr(front_door, "door", lambda: waits)
        ana, bruno = uuid4(), uuid4()
        for buyer, seat, request in ((ana, "A1", "from-ana"), (bruno, "A2", "from-bruno")):
            with causes.working_for(Cause(request, buyer)):
                front_door.admit(Ask(session=session.pk, seats=(seat,)), buyer=buyer)
        assert {one.request.cause for one in inbox.waiting(0, limit=9)} == {"from-ana", "from-bruno"}

        with capture_logs() as lines:
            queued.drain_inbox(shard=0)

        told = Event.objects.filter(name="reservation.held").values_list("cause", "actor")
        assert set(told) == {("from-ana", ana), ("from-bruno", bruno)}
        assert why("seat.held") == ("", None)
        assert [line["request_ids"] for line in lines if line["event"] == "allocated"] == [["from-ana", "from-bruno"]]

    def test_batch_done_together_lends_no_request_the_cause_of_the_thread_that_does_it(self) -> None:
        work = together.Together[str, Cause](lambda asks: [causes.current() for _ask in asks])

        with causes.working_for(Cause("of-one-of-them")):
            assert work("x") == causes.UNKNOWN


class TestStaff:
    def test_acting_staff_are_the_actor_not_the_buyer(self, session: Session, hold: Hold, owner: User) -> None:
        held = hold(session, "A1", buyer=uuid4())
        client = Client()
        client.force_login(owner)

        client.post(
            reverse("counter-hold", args=[held.pk]), {"action": "release"}, headers={"X-Request-ID": "at-the-desk"}
        )

        assert why("reservation.cancelled") == ("at-the-desk", owner.pk)

    def test_staff_who_hold_for_a_customer_are_the_actor(self, session: Session, owner: User) -> None:
        client = Client()
        client.force_login(owner)

        client.post(reverse("counter", args=[session.pk]), {"seats": "A1"}, headers={"X-Request-ID": "counter-1"})

        assert why("reservation.held") == ("counter-1", owner.pk)
        assert Reservation.objects.get().buyer != owner.pk

    def test_staff_who_refund_are_the_actor_to_the_end(self, session: Session, hold: Hold, owner: User) -> None:
        sale = bought(hold(session, "A1", buyer=uuid4()))
        with causes.working_for(Cause("refund-1", owner.pk)):
            refund = refunds.ask_refund(sale_id=sale.pk, buyer=None, asked_by=owner.pk)
        assert why("sale.refunded") == why("seat.returned") == ("refund-1", owner.pk)

        refunds.pay_back(refund_id=refund.pk)  # by a worker or a sweep, later

        assert why("refund.paid_back") == ("refund-1", owner.pk)


class TestAJob:
    def test_job_that_ends_a_hold_is_named_expiry(self, session: Session, hold: Hold) -> None:
        run_out(hold(session, "A1", buyer=uuid4()))

        sweeps.expire_holds()

        assert why("reservation.expired") == why("seat.released") == ("job:expiry", None)

    def test_expiry_is_named_when_a_request_ends_the_hold(self, session: Session, hold: Hold) -> None:
        run_out(hold(session, "A1", buyer=uuid4()))
        buyer = uuid4()

        with causes.working_for(Cause("next-please", buyer)):
            hold(session, "A1", buyer=buyer)

        assert why("reservation.expired") == ("job:expiry", None)
        assert why("reservation.held") == ("next-please", buyer)

    def test_job_that_sweeps_a_payment_names_the_request_that_began_it(self, session: Session, hold: Hold) -> None:
        buyer = uuid4()
        with causes.working_for(Cause("began-here", buyer)):
            started(hold(session, "A1", buyer=buyer))
        Payment.objects.update(changed_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))

        with capture_logs() as lines:
            assert sweeping.sweep_payments() == 1

        assert why("reservation.confirmed") == why("payment.captured") == ("began-here", buyer)
        assert [line["status"] for line in lines if line["event"] == "payment.finished"] == ["captured"]


class TestALetter:
    def test_letter_carries_the_id_of_the_request_it_answers(
        self, session: Session, hold: Hold, mailoutbox: list[EmailMultiAlternatives]
    ) -> None:
        buyer = uuid4()
        with causes.working_for(Cause("bought-here", buyer)):
            bought(hold(session, "A1", buyer=buyer), email="ana@example.com")

        mail.send_for(relay.message(Event.objects.get(name="reservation.confirmed")))

        (letter,) = mailoutbox
        assert letter.extra_headers["X-Request-ID"] == "bought-here"


class TestTheLog:
    def test_cause_in_the_log_cannot_be_changed(self) -> None:
        event = events.record(event="test", session=None, facts={}, why=Cause("first", uuid4()))

        for change in ({"cause": "other"}, {"actor": None}):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                Event.objects.filter(pk=event.pk).update(**change)

    def test_log_takes_events_from_a_process_that_knows_no_causes_yet(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO realtime_event (id, name, facts) VALUES (gen_random_uuid(), 'older', '{}')")

        assert why("older") == ("", None)
        assert relay.message(Event.objects.get(name="older"))["cause"] is None

    def test_log_shows_both_to_staff(self, client: Client, owner: User) -> None:
        client.force_login(owner)
        events.record(event="test", session=None, facts={}, why=Cause("look-for-me", owner.pk))

        page = client.get(reverse("admin:realtime_event_changelist"), {"q": "look-for-me"}).content.decode()

        assert "look-for-me" in page
        assert str(owner.pk) in page


def started(reservation: Reservation, *, email: str = "") -> Payment:
    return starting.start_payment(
        reservation_id=reservation.pk, buyer=reservation.buyer, method="fake", token="ok", email=email
    )


def bought(reservation: Reservation, *, email: str = "") -> Sale:
    steps.finish_payment(payment_id=started(reservation, email=email).pk)
    return Sale.objects.get(reservation=reservation)
