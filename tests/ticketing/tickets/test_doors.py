"""Check that a ticket admits one person, once."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction
from prometheus_client import REGISTRY

from base.clock import rfc3339
from realtime.models import Event
from sessions_app.models import Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import SessionFactory, UserFactory
from tests.race.racing import race
from tests.support.states import VOID, ticket_in
from tests.ticketing.test_paying import pay
from ticketing import codes
from ticketing.models import CheckIn, Refund, Ticket, Transfer, User, new_code
from ticketing.payments import refunds, selling
from ticketing.people.roles import ensure_groups
from ticketing.refusals import AlreadyUsed
from ticketing.tickets import doors, transfers
from ticketing.voiding import VoidReason

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("doors_open")]


@pytest.fixture
def gabi(transactional_db: None) -> User:
    """Make a member of the gate's staff."""
    user: User = UserFactory.create(username="gabi", is_staff=True)
    user.groups.add(ensure_groups()["gate"])
    return user


@pytest.fixture
def ticket(session: Session, hold: Hold, ana: UUID) -> Ticket:
    """Sell A1 to Ana."""
    pay(hold(session, "A1", buyer=ana))
    return Ticket.objects.get()


def scan(by: Any, code: str, **more: Any) -> Any:
    return post(client_of(by), "/checkins", {"code": code, **more})


def told(name: str) -> list[dict[str, Any]]:
    return [event.facts for event in Event.objects.filter(name=name).order_by("id")]


class TestCheckIn:
    def test_check_in_succeeds_once_and_then_says_when_and_where(self, gabi: User, ticket: Ticket) -> None:
        first = scan(gabi, ticket.signed_code, gate="Door 2")
        assert first.status_code == 200
        body = first.json()
        assert (body["ticket"], body["seat"], body["status"]) == (str(ticket.pk), "A1", "used")
        assert body["show"] == ticket.session.show.title
        problem = assert_problem(scan(gabi, ticket.signed_code, gate="Door 5"), 409, "already_used")
        assert (problem["gate"], problem["used_at"]) == ("Door 2", body["used_at"])
        ticket.refresh_from_db()
        assert (ticket.status, ticket.used_gate) == ("used", "Door 2")

    def test_check_in_takes_a_typed_code_too(self, gabi: User, ticket: Ticket) -> None:
        assert scan(gabi, f" {ticket.code[:4]}-{ticket.code[4:8]} {ticket.code[8:]} ".lower()).status_code == 200

    def test_check_in_is_in_the_log_and_counted(self, gabi: User, ticket: Ticket, ana: UUID) -> None:
        def counted(outcome: str) -> float:
            return REGISTRY.get_sample_value("frontrow_check_ins_total", {"outcome": outcome}) or 0.0

        before = counted("admitted"), counted("already_used")
        scan(gabi, ticket.code, gate="Door 2")
        scan(gabi, ticket.code)
        assert [fact["seat"] for fact in told("ticket.checked_in")] == ["A1"]
        assert [fact["outcome"] for fact in told("ticket.refused")] == ["already_used"]
        assert Event.objects.get(name="ticket.checked_in").buyer == ana
        assert told("ticket.let_in_twice") == []
        assert (counted("admitted"), counted("already_used")) == (before[0] + 1, before[1] + 1)
        assert [(made.outcome, made.by) for made in CheckIn.objects.order_by("id")] == [
            ("admitted", gabi),
            ("already_used", gabi),
        ]

    def test_check_in_is_for_gate_staff_only(self, ticket: Ticket, ana: UUID) -> None:
        clerk: User = UserFactory.create(is_staff=True)
        clerk.groups.add(ensure_groups()["boxoffice"])
        for somebody in (ana, UserFactory(), clerk):
            assert_problem(scan(somebody, ticket.code), 403, "forbidden")
            assert_problem(get(client_of(somebody), f"/sessions/{ticket.session_id}/door-list"), 403, "forbidden")
        ticket.refresh_from_db()
        assert ticket.status == "valid"

    def test_check_in_of_an_unknown_code_is_404(self, gabi: User, ticket: Ticket) -> None:
        for code in ("5901234123457 no code at all!", new_code(), codes.sign(new_code(), session=ticket.session_id)):
            problem = assert_problem(scan(gabi, code), 404, "unknown_code")
            assert problem["errors"][0]["field"] == "code"

    def test_check_in_of_a_forged_code_is_refused(self, gabi: User, ticket: Ticket, settings: Any) -> None:
        code = ticket.signed_code
        for forged in (code[:-2] + ("00" if code[-2:] != "00" else "11"), code[:40]):
            assert_problem(scan(gabi, forged), 400, "bad_signature")
        settings.TICKET_SIGNING_KEY = b"another house's signing key, not"
        theirs = ticket.signed_code
        settings.TICKET_SIGNING_KEY = b""
        assert_problem(scan(gabi, theirs), 400, "bad_signature")
        assert CheckIn.objects.count() == 0

    def test_check_in_of_a_code_from_before_it_was_passed_on_is_refused(
        self, gabi: User, ticket: Ticket, ana: UUID, bruno: UUID
    ) -> None:
        old, old_short = ticket.signed_code, ticket.code
        passed = transfers.pass_on(ticket_id=ticket.pk, giver=ana, receiver=bruno)
        passed_at = Transfer.objects.get().passed_at
        for code in (old, old_short):
            problem = assert_problem(scan(gabi, code), 409, "ticket_void")
            assert (problem["reason"], problem["voided_at"]) == ("passed_on", rfc3339(passed_at))
        assert scan(gabi, passed.signed_code).status_code == 200

    @pytest.mark.parametrize("state", VOID)
    def test_check_in_of_a_void_ticket_is_refused_in_the_words_of_its_page(
        self, gabi: User, session: Session, ana: UUID, state: str
    ) -> None:
        ticket = ticket_in(state, session, buyer=ana)
        shown = get(client_of(ana), f"/tickets/{ticket.pk}").json()
        (listed,) = get(client_of(gabi), f"/sessions/{session.pk}/door-list").json()["tickets"]
        assert (listed["status"], listed["void_reason"]) == ("void", shown["void_reason"])
        if VOID[state] == VoidReason.CALLED_OFF:
            assert_problem(scan(gabi, ticket.code), 409, "session_cancelled")
            return
        problem = assert_problem(scan(gabi, ticket.code), 409, "ticket_void")
        assert (problem["reason"], problem["voided_at"]) == (shown["void_reason"], shown["voided_at"])

    def test_check_in_at_another_sessions_gate_is_refused(self, gabi: User, ticket: Ticket) -> None:
        other = str(SessionFactory.create().pk)
        problem = assert_problem(scan(gabi, ticket.code, session=other), 409, "other_session")
        assert problem["session"] == str(ticket.session_id)
        assert scan(gabi, ticket.code, session=str(ticket.session_id)).status_code == 200

    def test_check_in_follows_a_ticket_to_another_seat(self, gabi: User, ticket: Ticket) -> None:
        code = ticket.signed_code
        selling.move_seats(reservation_id=ticket.sale.reservation_id, seats=["A1"], to=["C3"])
        assert scan(gabi, code).json()["seat"] == "C3"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "code"),
            ({"code": ""}, "code"),
            ({"code": 7}, "code"),
            ({"code": "x" * 401}, "code"),
            ({"code": "A", "gate": "g" * 61}, "gate"),
            ({"code": "A", "session": "tonight"}, "session"),
            ({"code": "A", "scan": 1}, "scan"),
            ({"code": "A", "seconds_ago": -1}, "seconds_ago"),
            ({"code": "A", "seconds_ago": doors.LATEST + 1}, "seconds_ago"),
            ({"code": "A", "anyway": "perhaps"}, "anyway"),
        ],
        ids=repr,
    )
    def test_check_in_names_the_field_that_is_wrong(self, gabi: User, body: dict[str, Any], field: str) -> None:
        problem = assert_problem(post(client_of(gabi), "/checkins", body), 400, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field]

    @pytest.mark.race
    def test_one_of_fifty_simultaneous_check_ins_succeeds(self, gabi: User, ticket: Ticket) -> None:
        def at(gate: str) -> str:
            try:
                return doors.check_in(code=ticket.code, by=gabi, gate=gate).gate
            except AlreadyUsed as used:
                return f"after {used.gate}"

        outcomes = race([partial(at, f"Door {number}") for number in range(50)])
        (first,) = {outcome for outcome in outcomes if not str(outcome).startswith("after ")}
        assert outcomes.count(f"after {first}") == 49
        assert CheckIn.objects.filter(outcome="admitted").count() == 1
        assert len(told("ticket.checked_in")) == 1

    def test_check_in_is_one_a_ticket_by_the_database_itself(self, gabi: User, ticket: Ticket) -> None:
        doors.check_in(code=ticket.code, by=gabi)
        with pytest.raises(IntegrityError, match="check_in_one_admission_a_ticket"), transaction.atomic():
            CheckIn.objects.create(ticket=ticket, outcome="admitted", scanned_at=dt.datetime.now(dt.UTC))


class TestScansThatComeLate:
    def test_late_scans_keep_their_time(self, gabi: User, ticket: Ticket) -> None:
        body = scan(gabi, ticket.signed_code, seconds_ago=600, scan=str(uuid4())).json()
        ago = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(body["used_at"])
        assert dt.timedelta(minutes=9) < ago < dt.timedelta(minutes=11)

    def test_late_scans_told_twice_count_once(self, gabi: User, ticket: Ticket) -> None:
        ours = {"seconds_ago": 60, "scan": str(uuid4()), "gate": "Door 1"}
        first, second = (scan(gabi, ticket.code, **ours) for _time in range(2))
        assert first.status_code == second.status_code == 200
        assert first.json()["id"] == second.json()["id"] == ours["scan"]
        assert CheckIn.objects.count() == len(told("ticket.checked_in")) == 1

    def test_late_scans_that_were_second_are_told_when_and_where(self, gabi: User, ticket: Ticket) -> None:
        scan(gabi, ticket.code, gate="Door 1", seconds_ago=300)
        problem = assert_problem(scan(gabi, ticket.code, gate="Door 2", seconds_ago=60), 409, "already_used")
        assert problem["gate"] == "Door 1"
        (twice,) = told("ticket.let_in_twice")
        assert (twice["first"]["gate"], twice["second"]["gate"]) == ("Door 1", "Door 2")

    def test_late_scans_that_were_first_take_their_place(self, gabi: User, ticket: Ticket) -> None:
        later = scan(gabi, ticket.code, gate="Door 1")
        assert scan(gabi, ticket.code, gate="Door 2", seconds_ago=60).status_code == 200
        ticket.refresh_from_db()
        assert ticket.used_gate == "Door 2"
        assert assert_problem(scan(gabi, ticket.code), 409, "already_used")["gate"] == "Door 2"
        assert CheckIn.objects.get(pk=later.json()["id"]).outcome == "already_used"
        (twice,) = told("ticket.let_in_twice")
        assert (twice["first"]["gate"], twice["second"]["gate"]) == ("Door 2", "Door 1")

    def test_late_scans_from_before_it_was_passed_on_count(
        self, gabi: User, ticket: Ticket, ana: UUID, bruno: UUID
    ) -> None:
        code = ticket.signed_code
        transfers.pass_on(ticket_id=ticket.pk, giver=ana, receiver=bruno)
        assert scan(gabi, code, seconds_ago=60).status_code == 200

    def test_late_scans_from_before_it_was_given_back_count_and_say_so(self, gabi: User, ticket: Ticket) -> None:
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None)
        ours = {"seconds_ago": 60, "scan": str(uuid4()), "gate": "Door 2"}
        for _time in range(2):
            answer = scan(gabi, ticket.code, **ours)
            body = answer.json()
            assert (answer.status_code, body["status"]) == (200, "void")
            assert body["refunded_at"] > body["used_at"]
            assert body["void_reason"] == "given_back"
        made = CheckIn.objects.get()
        assert (made.outcome, made.gate) == ("admitted", "Door 2")
        ticket.refresh_from_db()
        assert (ticket.status, ticket.used_gate) == ("void", "Door 2")

    def test_late_scans_from_before_the_session_was_called_off_say_that_it_was(
        self, gabi: User, ticket: Ticket
    ) -> None:
        refunds.call_off(session_id=ticket.session_id)
        refunds.refund_everybody(
            session_id=ticket.session_id, each=lambda refund: refunds.pay_back(refund_id=refund.pk)
        )
        body = scan(gabi, ticket.code, seconds_ago=60, scan=str(uuid4())).json()
        assert (body["status"], body["void_reason"]) == ("void", "called_off")

    def test_late_scans_from_after_it_was_given_back_are_refused(self, gabi: User, ticket: Ticket) -> None:
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None)
        Refund.objects.update(asked_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1))
        assert_problem(scan(gabi, ticket.code, seconds_ago=60), 409, "ticket_void")

    def test_late_scans_that_were_first_say_where_the_other_came_in(self, gabi: User, ticket: Ticket) -> None:
        scan(gabi, ticket.code, gate="Door 1", seconds_ago=60)
        scan(gabi, ticket.code, gate="Door 5")
        ours = {"seconds_ago": 300, "scan": str(uuid4()), "gate": "Door 2"}
        for _time in range(2):
            assert scan(gabi, ticket.code, **ours).json()["also_used"]["gate"] == "Door 1"

    def test_late_scans_that_were_alone_name_no_other(self, gabi: User, ticket: Ticket) -> None:
        body = scan(gabi, ticket.code, seconds_ago=300).json()
        assert (body["also_used"], body["refunded_at"], body["void_reason"]) == (None, None, None)

    def test_late_scans_are_told_after_weeks_too(self, gabi: User, ticket: Ticket) -> None:
        body = scan(gabi, ticket.code, seconds_ago=doors.LATEST, anyway=True).json()
        ago = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(body["used_at"])
        assert ago > dt.timedelta(days=30)


class TestOpenDoors:
    """Check doors from three hours before the start to the end; see API.md's row of check-ins."""

    @pytest.fixture(autouse=True)
    def _three_hours(self, settings: Any, doors_open: None) -> None:
        settings.DOORS_OPEN_MINUTES = 180

    def starts_in(self, ticket: Ticket, **ago: int) -> None:
        start = dt.datetime.now(dt.UTC) + dt.timedelta(**ago)
        Session.objects.filter(pk=ticket.session_id).update(starts_at=start, ends_at=start + dt.timedelta(hours=2))

    def test_doors_refuse_a_ticket_of_next_month(self, gabi: User, ticket: Ticket) -> None:
        self.starts_in(ticket, days=30)
        for session in (None, str(ticket.session_id)):
            problem = assert_problem(
                scan(gabi, ticket.code, **({"session": session} if session else {})), 409, "not_yet"
            )
            opens_at, starts_at = (dt.datetime.fromisoformat(problem[name]) for name in ("opens_at", "starts_at"))
            assert starts_at - opens_at == dt.timedelta(hours=3)
        ticket.refresh_from_db()
        assert ticket.status == "valid"
        assert [fact["outcome"] for fact in told("ticket.refused")] == ["not_yet", "not_yet"]

    def test_doors_refuse_a_ticket_of_last_night(self, gabi: User, ticket: Ticket) -> None:
        self.starts_in(ticket, hours=-3)
        problem = assert_problem(scan(gabi, ticket.code), 409, "too_late")
        assert dt.datetime.fromisoformat(problem["ended_at"]) < dt.datetime.now(dt.UTC)

    @pytest.mark.parametrize("minutes", [179, 0, -119])
    def test_doors_let_in_until_the_end(self, gabi: User, ticket: Ticket, minutes: int) -> None:
        self.starts_in(ticket, minutes=minutes)
        assert scan(gabi, ticket.code).status_code == 200

    @pytest.mark.parametrize("days", [30, -30])
    def test_doors_let_in_anyway_where_the_gate_says_so(self, gabi: User, ticket: Ticket, days: int) -> None:
        self.starts_in(ticket, days=days)
        assert scan(gabi, ticket.code, anyway=True).status_code == 200
        (fact,) = told("ticket.checked_in")
        assert fact["anyway"] is True
        assert_problem(scan(gabi, ticket.code, anyway=True), 409, "already_used")

    def test_doors_judge_a_late_scan_by_its_own_time(self, gabi: User, ticket: Ticket) -> None:
        self.starts_in(ticket, hours=-20)
        assert scan(gabi, ticket.code, seconds_ago=19 * 3600).status_code == 200

    def test_doors_open_for_no_other_refusal(self, gabi: User, ticket: Ticket) -> None:
        """Check that `anyway` concerns only the time."""
        other = str(SessionFactory.create().pk)
        assert_problem(scan(gabi, ticket.code, session=other, anyway=True), 409, "other_session")
        refunds.ask_refund(sale_id=ticket.sale_id, buyer=None)
        assert_problem(scan(gabi, ticket.code, anyway=True), 409, "ticket_void")

    def test_doors_of_a_session_that_was_called_off_stay_shut(self, gabi: User, ticket: Ticket) -> None:
        self.starts_in(ticket, minutes=10)
        refunds.call_off(session_id=ticket.session_id)
        for anyway in (False, True):
            problem = assert_problem(scan(gabi, ticket.code, anyway=anyway), 409, "session_cancelled")
            assert problem["cancelled_at"]
        listed = get(client_of(gabi), f"/sessions/{ticket.session_id}/door-list").json()
        assert listed["cancelled_at"]
        assert listed["opens_at"] < listed["closes_at"]


class TestDoorList:
    def test_door_list_knows_every_code_by_its_digest_and_gives_none_away(
        self, gabi: User, ticket: Ticket, ana: UUID, bruno: UUID, session: Session, hold: Hold
    ) -> None:
        pay(hold(session, "A2", buyer=ana))
        used = Ticket.objects.get(seat__label="A2")
        scan(gabi, used.code, gate="Door 2")
        passed = transfers.pass_on(ticket_id=ticket.pk, giver=ana, receiver=bruno)
        answer = get(client_of(gabi), f"/sessions/{session.pk}/door-list")
        listed = {row["digest"]: row for row in answer.json()["tickets"]}
        columns = ("seat", "status", "void_reason", "gate")
        assert {digest: tuple(row[name] for name in columns) for digest, row in listed.items()} == {
            codes.digest(ticket.code): ("A1", "void", "passed_on", ""),
            codes.digest(passed.code): ("A1", "valid", None, ""),
            codes.digest(used.code): ("A2", "used", None, "Door 2"),
        }
        assert answer.json()["keys"] == codes.published()["keys"]
        for code in (ticket.code, passed.code, used.code):
            assert code not in answer.content.decode()

    def test_door_list_of_no_session_is_404(self, gabi: User) -> None:
        assert_problem(get(client_of(gabi), f"/sessions/{uuid4()}/door-list"), 404, "not_found")
