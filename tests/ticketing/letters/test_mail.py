"""Check which people get which letters, once, whatever happens on the way."""

from __future__ import annotations

import os
import uuid
from email.message import Message
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import connection

from config.celery import app
from realtime import relay
from realtime.models import Event
from reservations.models import Reservation
from reservations.operations import sweeps
from reservations.queueing import queues
from sessions_app.models import Session
from sessions_app.templatetags.frontrow import spelled
from tests import services
from tests.conftest import Hold
from tests.factories import StockFactory, UserFactory
from tests.processes import Processes, until
from tests.reservations.test_holding import run_out
from ticketing import mail_tasks
from ticketing.letters import mail
from ticketing.models import Notification, Sale, Ticket, User
from ticketing.payments import starting, steps

pytestmark = pytest.mark.django_db(transaction=True)

Outbox = list[EmailMultiAlternatives]


@pytest.fixture
def ana_at_home() -> User:
    """Make an account with an address."""
    user: User = UserFactory.create(username="ana", email="ana@example.com")
    return user


def buy(reservation: Reservation, *, email: str = "", language: str = "en") -> Sale:
    payment = starting.start_payment(
        reservation_id=reservation.pk,
        buyer=reservation.buyer,
        method="fake",
        token="ok",
        email=email,
        language=language,
    )
    steps.finish_payment(payment_id=payment.pk)
    return Sale.objects.get(reservation=reservation)


def event(name: str) -> dict[str, Any]:
    """Return the newest event of its kind, as the relay publishes it."""
    return relay.message(Event.objects.filter(name=name).latest("id"))


def html(letter: EmailMultiAlternatives) -> str:
    ((content, mimetype),) = letter.alternatives
    assert mimetype == "text/html"
    return str(content)


class TestConfirmed:
    def test_confirmation_sends_the_tickets_to_the_address_given_with_the_payment(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        sale = buy(hold(session, "A1", "A2", buyer=ana), email="guest@example.com")

        mail.send_for(event("reservation.confirmed"))

        (letter,) = mailoutbox
        assert letter.to == ["guest@example.com"]
        assert session.show.title in letter.subject
        codes = Ticket.objects.filter(sale=sale).values_list("code", flat=True)
        for text in (str(letter.body), html(letter)):
            for words in (
                session.show.title,
                "A1",
                "A2",
                *map(spelled, codes),
                str(sale.number),
                f"{settings.SITE_URL}/sales/{sale.pk}",
            ):
                assert words in text

    def test_confirmation_sends_them_to_the_account_otherwise(
        self, session: Session, hold: Hold, ana_at_home: User, mailoutbox: Outbox
    ) -> None:
        buy(hold(session, "A1", buyer=ana_at_home.pk))

        mail.send_for(event("reservation.confirmed"))

        assert [letter.to for letter in mailoutbox] == [["ana@example.com"]]

    def test_confirmation_speaks_the_buyers_language(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        buy(hold(session, "A1", buyer=ana), email="ana@example.com", language="pt-br")

        mail.send_for(event("reservation.confirmed"))

        assert mailoutbox[0].subject == f"Seus ingressos para {session.show.title}"
        assert "R$\N{NO-BREAK SPACE}25,00" in str(mailoutbox[0].body)
        assert 'lang="pt-br"' in html(mailoutbox[0])

    def test_confirmation_names_places_without_a_number(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        pit = StockFactory.create(session=session, name="Pista <b>")
        buy(hold(session, buyer=ana, ticket_type=pit.pk, quantity=2), email="ana@example.com")

        mail.send_for(event("reservation.confirmed"))

        assert str(mailoutbox[0].body).count("Pista <b> · R$90.00:") == 2
        assert html(mailoutbox[0]).count("Pista &lt;b&gt;") == 2

    def test_confirmation_writes_to_no_guest_without_an_address(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        buy(hold(session, "A1", buyer=ana))

        mail.send_for(event("reservation.confirmed"))

        assert mailoutbox == []
        assert not Notification.objects.exists()

    def test_confirmation_survives_a_title_that_would_forge_headers(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        session.show.title = "Jaws\r\nBcc: everybody@example.com"
        session.show.save()
        buy(hold(session, "A1", buyer=ana), email="ana@example.com")

        mail.send_for(event("reservation.confirmed"))

        message: Message = mailoutbox[0].message()
        assert message["Bcc"] is None
        assert "\n" not in mailoutbox[0].subject


class TestExpired:
    def test_expiry_letter_tells_an_account(
        self, session: Session, hold: Hold, ana_at_home: User, mailoutbox: Outbox
    ) -> None:
        run_out(hold(session, "A1", "A2", buyer=ana_at_home.pk))
        sweeps.expire_holds()

        mail.send_for(event("reservation.expired"))

        (letter,) = mailoutbox
        assert letter.to == ["ana@example.com"]
        assert "Seats A1, A2" in str(letter.body)
        assert f"{settings.SITE_URL}/sessions/{session.pk}" in html(letter)

    def test_expiry_letter_speaks_the_language_of_the_last_purchase(
        self, session: Session, hold: Hold, ana_at_home: User, mailoutbox: Outbox
    ) -> None:
        buy(hold(session, "B1", buyer=ana_at_home.pk), language="pt-br")
        run_out(hold(session, "A1", buyer=ana_at_home.pk))
        sweeps.expire_holds()

        mail.send_for(event("reservation.expired"))

        assert 'lang="pt-br"' in html(mailoutbox[0])

    def test_expiry_letter_writes_to_no_guest(
        self, session: Session, hold: Hold, ana: uuid.UUID, mailoutbox: Outbox
    ) -> None:
        run_out(hold(session, "A1", buyer=ana))
        sweeps.expire_holds()

        mail.send_for(event("reservation.expired"))

        assert mailoutbox == []


@pytest.fixture
def confirmed(session: Session, hold: Hold, ana: uuid.UUID) -> dict[str, Any]:
    buy(hold(session, "A1", buyer=ana), email="ana@example.com")
    return event("reservation.confirmed")


class BrokenServer:
    """Fail as often as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, failures: int) -> None:
        self.failures = failures
        self.asked = 0
        self._send = EmailMultiAlternatives.send
        monkeypatch.setattr(EmailMultiAlternatives, "send", self.send)

    def send(self, *_arguments: Any) -> int:
        self.asked += 1
        if self.asked <= self.failures:
            raise ConnectionRefusedError
        return 1


class TestOnce:
    def test_one_letter_an_event_however_often_it_comes(self, confirmed: dict[str, Any], mailoutbox: Outbox) -> None:
        for _time in range(3):
            mail.send_for(confirmed)

        assert len(mailoutbox) == 1

    def test_two_at_once_send_one(self, confirmed: dict[str, Any], mailoutbox: Outbox) -> None:
        """Hold the lock that shows that another process is at work."""
        key = int.from_bytes(uuid.UUID(confirmed["id"]).bytes[-8:], signed=True)
        parameters = connection.get_connection_params() | {"cursor_factory": None, "context": None}
        with psycopg.connect(**parameters) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [key])
            mail.send_for(confirmed)
            assert mailoutbox == []
            other.execute("SELECT pg_advisory_unlock(%s)", [key])  # closing alone would release it a moment later

        mail.send_for(confirmed)
        assert len(mailoutbox) == 1

    def test_a_letter_that_could_not_leave_counts_as_unsent(
        self, confirmed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = BrokenServer(monkeypatch, failures=1)

        with pytest.raises(ConnectionRefusedError):
            mail.send_for(confirmed)
        assert not Notification.objects.exists()
        mail.send_for(confirmed)

        assert server.asked == 2
        assert Notification.objects.get().kind == "reservation.confirmed"


def dead_letters() -> list[dict[str, Any]]:
    with app.connection_for_read() as broker:
        queue = queues.dead_jobs("mail")(broker.default_channel)
        queue.declare()
        found = []
        while message := queue.get(no_ack=True):
            found.append(message.payload)
        return found


class TestTrying:
    @pytest.fixture(autouse=True)
    def _empty(self) -> None:
        dead_letters()

    def test_mail_task_tries_again_until_the_server_is_back(
        self, confirmed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = BrokenServer(monkeypatch, failures=5)

        mail_tasks.send_mail.apply(kwargs={"event": confirmed})

        assert server.asked == 6
        assert Notification.objects.exists()
        assert dead_letters() == []

    def test_mail_task_gives_up_after_five_and_keeps_the_event(
        self, confirmed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = BrokenServer(monkeypatch, failures=100)

        mail_tasks.send_mail.apply(kwargs={"event": confirmed})

        assert server.asked == 6
        assert dead_letters() == [confirmed]
        assert not Notification.objects.exists()


@pytest.mark.parametrize("kind", ["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
class TestTheWholeWay:
    """Test event, relay, exchange, queue, task and letter with real processes."""

    def test_an_event_becomes_a_letter(self, confirmed: dict[str, Any], kind: str, tmp_path: Path) -> None:
        url = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + connection.settings_dict["NAME"]
        rabbitmq = services.current().rabbitmq_url if kind == "rabbitmq" else ""
        with Processes(folder=tmp_path, DATABASE_URL=url, RABBITMQ_URL=rabbitmq) as site:
            worker = site.worker("--jobs")
            until(lambda: "ready." in worker.last_words(), seconds=60, what="the worker")
            site.relay()
            until(Notification.objects.exists, seconds=60, what=f"a letter\n{site.last_words()}")

        assert str(Notification.objects.get().event) == confirmed["id"]
        assert Event.objects.get(pk=confirmed["id"]).published_at is not None


class TestTheQueueOfEvents:
    @pytest.fixture
    def step(self) -> mail_tasks.MailEvents:
        return mail_tasks.MailEvents(None)

    @pytest.mark.parametrize("kind", ["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
    @pytest.mark.parametrize("body", ['{"event": "reservation.held"}', "[]", "{", '"x"'])
    def test_event_queue_sets_aside_what_it_does_not_understand(
        self, step: mail_tasks.MailEvents, kind: str, body: str
    ) -> None:
        url = services.current().rabbitmq_url if kind == "rabbitmq" else settings.CELERY_BROKER_URL
        with relay.connect(url) as broker:
            channel = broker.default_channel
            (consumer,) = step.get_consumers(channel)
            with consumer:
                dead = queues.dead_jobs("mail")(channel)
                dead.purge()
                broker.Producer(channel).publish(
                    body,
                    exchange=relay.exchange(),
                    routing_key="reservation.confirmed",
                    content_type="application/json",
                    content_encoding="utf-8",
                )
                broker.drain_events(timeout=10)
            until(lambda: dead.queue_declare().message_count, what="a dead letter")
            message = dead.get(no_ack=True)

        assert message.body in {body, body.encode()}  # as the broker's client has it
        assert message.headers["frontrow-reason"] == "not an event"
