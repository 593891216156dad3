"""Check that irreversible management commands ask on a terminal, with their effects and their letters."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.management import CommandError, call_command, get_commands

from reservations.models import InboxRequest, Reservation
from sessions_app.models import HallSeat, Session
from tests.factories import HallFactory
from tests.reservations.test_holding import request_for
from tests.support import house
from tests.support.letters import Post
from tests.support.terminal import answer
from ticketing import demo
from ticketing.models import Sale
from ticketing.payments import refunds
from ticketing.people.roles import OURS

pytestmark = pytest.mark.django_db(transaction=True)

ASKS = {"refund_session", "dead_letters", "import_plan", "seed"}
LOOKS_OR_GOES_ON = {
    "audit",  # only reads
    "expire_holds",  # does what beat does each second
    "relay",  # publishes what waits
    *("beat", "both", "live", "up", "web", "worker"),  # start processes
}


class Act(NamedTuple):
    """Describe a command: its arguments, how to see its effect, and its question."""

    words: list[str]
    is_done: Callable[[], bool]
    says: list[str]


@pytest.fixture
def call_off(session: Session) -> Act:
    post = Post(session, language="en")
    post.buy("C1", email="guest@example.com", buyer=uuid.uuid4())
    house.ask(session, "D1", buyer=uuid.uuid4())
    return Act(
        ["refund_session", str(session.pk), "--call-off"],
        lambda: Session.objects.get().cancelled_at is not None,
        [
            "Sales: 3",
            "Tickets that become void: 5",
            "Money to be given back: R$125.00",
            "People who get a letter: 3 buyers; 1 person with tickets that were passed on",
            "Holds and orders that end: 1",
        ],
    )


@pytest.fixture
def discard(session: Session, ana: uuid.UUID) -> Act:
    request = request_for(session, "A1", buyer=ana)
    InboxRequest.objects.create(pk=request.id, shard=0, arrival=1, buyer=ana, request=request.to_json(), attempts=9)
    return Act(
        ["dead_letters", "discard", str(request.id)],
        lambda: Reservation.objects.filter(reason="failed").exists(),
        [
            "Dead letters: 1 of inbox",
            "Money to be given back: none",
            "People who get a message: 1 buyer whose request is rejected",
        ],
    )


@pytest.fixture
def replace(session: Session, tmp_path: Path) -> Act:
    hall = HallFactory.create()
    HallSeat.objects.create(hall=hall, label="A1", row="A", number=1, position=0)
    Session.objects.update(hall=hall)
    plan = tmp_path / "plan.txt"
    plan.write_text("aaa")
    return Act(
        ["import_plan", str(plan), "--venue", hall.venue.name, "--hall", hall.name, "--replace"],
        lambda: hall.seats.count() == 3,
        [
            "Chairs now: 1",
            "Chairs then: 3",
            "Future sessions, which keep their seats: 1",
            "Money to be given back: none",
            "People who get a message: none",
        ],
    )


@pytest.fixture
def reset(session: Session, monkeypatch: pytest.MonkeyPatch) -> Act:
    monkeypatch.setitem(demo.PROFILES, "demo", [])
    Post(session, language="en")
    return Act(
        ["seed", "--reset"],
        lambda: not Sale.objects.exists(),
        [
            "Sessions: 1",
            "Sales: 2",
            "Tickets that open a door: 4",
            "without a refund: R$100.00",
            "People who get a message: none",
        ],
    )


@pytest.fixture(params=["call_off", "discard", "replace", "reset"])
def act(request: pytest.FixtureRequest) -> Act:
    made: Act = request.getfixturevalue(request.param)
    return made


def run(words: list[str]) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def test_every_command_is_known_to_ask_or_to_need_no_question() -> None:
    ours = {name for name, app in get_commands().items() if app in {*OURS, "config"}}
    assert ours == ASKS | LOOKS_OR_GOES_ON


class TestWhatCannotBeTakenBack:
    def test_irreversible_command_shows_its_effects_and_runs_after_a_yes(
        self, act: Act, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer(monkeypatch, "yes")
        said = run(act.words)
        assert act.is_done()
        assert [fact for fact in act.says if fact not in said] == []

    @pytest.mark.parametrize("said", [["no"], ["y"], [""], []])
    def test_irreversible_command_is_not_done_after_anything_else(
        self, act: Act, monkeypatch: pytest.MonkeyPatch, said: list[str]
    ) -> None:
        answer(monkeypatch, *said)
        with pytest.raises(CommandError, match=r"^Nothing was done\.$"):
            run(act.words)
        assert not act.is_done()

    def test_irreversible_command_is_refused_without_a_terminal(
        self, act: Act, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        with pytest.raises(CommandError, match=r"there is no terminal to ask on.* add --yes"):
            run(act.words)
        assert not act.is_done()

    def test_irreversible_command_asks_no_question_of_scripts(self, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("builtins.input", lambda _question: pytest.fail("asked"))
        said = run([*act.words, "--yes"])
        assert act.is_done()
        assert [fact for fact in act.says if fact not in said] == []


class TestCallOff:
    def test_call_off_asks_again_after_a_sale_in_the_meantime(
        self, call_off: Act, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def buy_and_say_yes(_question: str) -> str:
            if free := session.seats.filter(label="B4", status="f"):
                house.buy(session, free.get().label, buyer=uuid.uuid4())
            return "yes"

        answer(monkeypatch)
        monkeypatch.setattr("builtins.input", buy_and_say_yes)
        said = run(call_off.words)
        assert call_off.is_done()
        assert "This has changed since the question, so nothing was done. Check the figures and answer again." in said
        assert said.index("Sales: 3") < said.index("Sales: 4")

    def test_call_off_that_only_continues_asks_nothing(self, session: Session) -> None:
        Post(session, language="en").call_off()
        assert "2 of 2 sales paid back" in run(["refund_session", str(session.pk), "--call-off"])
        assert refunds.left_to_refund() == []
