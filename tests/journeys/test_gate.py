"""Check tickets in at the door, with a connection and without."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Shot, Site, Window
from tests.journeys.steps import choose, expect_tickets, hold, open_session, pay
from tests.journeys.test_looks import expect_accessible
from tests.journeys.test_people import PHONE

pytestmark = pytest.mark.journey

# A camera that always shows the same code, in a browser that reads codes.
CAMERA = """
    const canvas = document.createElement("canvas");
    setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9, 9), 50);
    navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
    globalThis.BarcodeDetector = class {
        static getSupportedFormats = async () => ["qr_code"];
        detect = async () => [{ rawValue: "CODE" }];
    };
"""


def tonight(site: Site, title: str = "", **fields: object) -> str:
    """Make a session whose doors are open, and return its id."""
    return site.new_session(title, **{"starts_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), **fields})


def buy(site: Site, session: str, *seats: str) -> list[dict[str, Any]]:
    """Buy seats, and return the tickets in the order of the seats."""
    guest = site.call("POST", "/auth/guest")["access"]
    held = site.call("POST", "/reservations", {"session": session, "seats": seats}, token=guest, Prefer="wait=10")
    card = {"payment": {"method": "fake", "token": "ok"}}
    paid = site.call("POST", f"/reservations/{held['id']}/pay", card, token=guest, Prefer="wait=10")
    return sorted(paid["sale"]["tickets"], key=lambda ticket: str(ticket["seat"]))


def sign_in(page: Page, name: str, *, onward: str = "/my-tickets") -> None:
    page.goto(onward)
    if onward == "/my-tickets":
        page.get_by_role("link", name="Sign in", exact=True).click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("frontrow-demo")
    page.locator("main form").get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{onward}")


def open_gate(page: Page, session: str) -> None:
    sign_in(page, "gate", onward="/gate")
    page.locator(f'a[href="/gate/{session}"]').click()
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Name of this gate").fill("Door 2")


def hold_up(page: Page, code: str) -> None:
    page.get_by_label("Code on the ticket").fill(code)
    page.get_by_role("button", name="Check").click()


def expect_verdict(page: Page, word: str, *, seat: str = "", more: str = "") -> None:
    expect(page.locator("#verdict-word")).to_have_text(word)
    expect(page.locator("#verdict-seat")).to_contain_text(seat)
    expect(page.locator("#verdict-more")).to_contain_text(more)


def test_a_ticket_comes_in_once(site: Site, window: Window, shot: Shot, refusals: set[str]) -> None:
    refusals.update({"400 /api/v1/checkins", "404 /api/v1/checkins", "409 /api/v1/checkins"})
    session = tonight(site, "A Última Sessão")
    first, second = buy(site, session, "C4", "C5")
    gabi = window(**PHONE)
    open_gate(gabi, session)
    hold_up(gabi, first["code"])
    expect_verdict(gabi, "Come in", seat="Seat C4")
    shot(gabi, "gate")
    expect_accessible(gabi)
    expect(gabi.locator("#came")).to_have_text("1")
    hold_up(gabi, first["short_code"].lower())
    expect_verdict(gabi, "Already used", more="at Door 2")
    hold_up(gabi, second["code"][:-1] + ("8" if second["code"][-1] != "8" else "0"))
    expect_verdict(gabi, "Forged or damaged")
    hold_up(gabi, "5901234123457")
    expect_verdict(gabi, "Unknown code")
    hold_up(gabi, buy(site, tonight(site), "A1")[0]["code"])
    expect_verdict(gabi, "For another session")
    expect_accessible(gabi)
    gabi.get_by_role("link", name="Another session").click()
    expect(gabi.locator(f'a[href="/gate/{session}"]')).to_contain_text("1 of 2 are in")
    expect_accessible(gabi)


def test_a_gate_without_a_connection_judges_by_itself_and_tells_later(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("409 /api/v1/checkins")
    session = tonight(site)
    first, second, third, fourth = buy(site, session, "A1", "A2", "A3", "A4")
    token = site.call("POST", "/auth/token", {"username": "gate", "password": "frontrow-demo"})["access"]
    gabi = window(**PHONE)
    open_gate(gabi, session)
    hold_up(gabi, first["code"])
    expect_verdict(gabi, "Come in", seat="Seat A1")
    expect(gabi.locator("html")).to_have_attribute("data-kept", "true")

    gabi.context.set_offline(True)
    expect(gabi.locator("#line")).to_have_attribute("data-state", "offline")
    sold_since = buy(site, session, "B1")[0]
    site.call("POST", "/checkins", {"code": third["code"], "gate": "Door 5"}, token=token)
    hold_up(gabi, first["short_code"])
    expect_verdict(gabi, "Already used", more="at Door 2")
    hold_up(gabi, second["short_code"])
    expect_verdict(gabi, "Come in (without a connection)", seat="Seat A2")
    hold_up(gabi, second["code"])
    expect_verdict(gabi, "Already used", more="at Door 2")
    hold_up(gabi, sold_since["short_code"])
    expect_verdict(gabi, "Unknown code", more="This code is not on this phone's list")
    expect_accessible(gabi)
    hold_up(gabi, sold_since["code"])
    expect_verdict(gabi, "Come in (without a connection)")
    hold_up(gabi, fourth["code"].replace(fourth["short_code"], second["short_code"]))
    expect_verdict(gabi, "Forged or damaged")
    hold_up(gabi, third["code"])
    expect_verdict(gabi, "Come in (without a connection)", seat="Seat A3")
    expect(gabi.locator("#waiting")).to_have_text("3")

    gabi.reload()
    gabi.wait_for_selector("html[data-ready]")
    expect(gabi.locator("#waiting")).to_have_text("3")
    hold_up(gabi, second["code"])
    expect_verdict(gabi, "Already used", more="at Door 2")

    gabi.context.set_offline(False)
    expect(gabi.locator("#line")).to_have_attribute("data-state", "online")
    expect(gabi.locator("#waiting")).to_have_text("0")
    quarrel = gabi.locator("#quarrel-list li")
    expect(quarrel).to_have_count(1)
    expect(quarrel).to_have_text(re.compile(r"A3: you admitted it at .+ also used at .+ \(Door 5\)"))
    listed = site.call("GET", f"/sessions/{session}/door-list", token=token)["tickets"]
    assert {row["seat"]: row["status"] for row in listed} == {
        "A1": "used", "A2": "used", "A3": "used", "A4": "valid", "B1": "used",
    }  # fmt: skip
    gabi.get_by_role("button", name="I have seen them").click()
    expect(gabi.locator("#quarrels")).to_be_hidden()


def test_scans_of_one_session_are_told_while_the_gate_shows_another(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("409 /api/v1/checkins")
    early, late = tonight(site, "Matinê"), tonight(site, "Noite")
    first, copied = buy(site, early, "A1", "A2")
    (other,) = buy(site, late, "A1")
    token = site.call("POST", "/auth/token", {"username": "gate", "password": "frontrow-demo"})["access"]
    gabi = window(**PHONE)
    open_gate(gabi, late)
    expect(gabi.locator("html")).to_have_attribute("data-kept", "true")
    gabi.get_by_role("link", name="Another session").click()
    gabi.locator(f'a[href="/gate/{early}"]').click()
    gabi.wait_for_selector("html[data-kept]")

    gabi.context.set_offline(True)
    for ticket in (first, copied):
        hold_up(gabi, ticket["code"])
        expect_verdict(gabi, "Come in (without a connection)")
    site.call("POST", "/checkins", {"code": copied["code"], "gate": "Door 5", "seconds_ago": 600}, token=token)
    gabi.get_by_role("link", name="Another session").click()
    expect(gabi.locator("#waiting")).to_have_text("2")
    gabi.locator(f'a[href="/gate/{late}"]').click()
    hold_up(gabi, other["code"])
    expect_verdict(gabi, "Come in (without a connection)", seat="Seat A1")
    expect(gabi.locator("#waiting")).to_have_text("3")

    gabi.context.set_offline(False)
    expect(gabi.locator("#waiting")).to_have_text("0")
    expect(gabi.locator("#quarrel-list li")).to_have_count(1)
    expect(gabi.locator("#quarrel-list li")).to_have_text(
        re.compile(r"^Matinê: .+ A2: you admitted it at .+ \(Door 5\)$")
    )
    expect_accessible(gabi)
    for session, seats in ((early, {"A1", "A2"}), (late, {"A1"})):
        listed = site.call("GET", f"/sessions/{session}/door-list", token=token)["tickets"]
        assert {row["seat"] for row in listed if row["status"] == "used"} == seats


def test_a_ticket_of_next_month_is_let_in_only_when_the_gate_says_so(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("409 /api/v1/checkins")
    starts = datetime.now(UTC) + timedelta(days=30)
    session = site.new_session(starts_at=starts.isoformat())
    first, second = buy(site, session, "A1", "A2")
    gabi = window(**PHONE, timezone_id="Asia/Tokyo")
    sign_in(gabi, "gate", onward=f"/gate/{session}")
    gabi.wait_for_selector("html[data-kept]")
    hold_up(gabi, first["code"])
    expect_verdict(gabi, "Not yet", more="The doors open: ")
    opens = (starts - timedelta(hours=3)).astimezone(ZoneInfo("America/Sao_Paulo"))
    at_the_house = re.compile(
        rf"{opens:%b} {opens.day}, {opens.year}, {opens:%I}:{opens:%M}\s{opens:%p}\.".replace(", 0", ", ")
    )
    expect(gabi.locator("#verdict-more")).to_have_text(at_the_house)
    expect_accessible(gabi)
    gabi.get_by_role("button", name="Let in anyway").click()
    expect_verdict(gabi, "Come in", seat="Seat A1")
    gabi.context.set_offline(True)
    hold_up(gabi, second["code"])
    expect_verdict(gabi, "Not yet", seat="Seat A2")
    expect(gabi.locator("#waiting")).to_have_text("0")
    gabi.get_by_role("button", name="Let in anyway").click()
    expect_verdict(gabi, "Come in (without a connection)", seat="Seat A2")
    gabi.context.set_offline(False)
    expect(gabi.locator("#waiting")).to_have_text("0")
    expect(gabi.locator("#quarrels")).to_be_hidden()


def test_a_scan_from_before_its_session_was_called_off_is_told_as_that(site: Site, window: Window) -> None:
    session = tonight(site)
    (ticket,) = buy(site, session, "A1")
    gabi = window(**PHONE)
    open_gate(gabi, session)
    expect(gabi.locator("html")).to_have_attribute("data-kept", "true")
    gabi.context.set_offline(True)
    hold_up(gabi, ticket["code"])
    expect_verdict(gabi, "Come in (without a connection)", seat="Seat A1")
    gabi.get_by_role("link", name="Another session").click()
    site.processes.manage("refund_session", session, "--call-off", "--yes")
    gabi.context.set_offline(False)
    expect(gabi.locator("#waiting")).to_have_text("0")
    expect(gabi.locator("#quarrel-list")).to_contain_text(
        "the buyer gets the money for it back. The session was called off."
    )


def test_the_camera_reads_a_ticket_once(site: Site, window: Window) -> None:
    session = tonight(site)
    (ticket,) = buy(site, session, "D1")
    gabi = window(**PHONE)
    gabi.add_init_script(CAMERA.replace("CODE", ticket["code"]))
    open_gate(gabi, session)
    gabi.get_by_role("button", name="Scan with the camera").click()
    expect_verdict(gabi, "Come in", seat="Seat D1")
    gabi.get_by_role("button", name="Stop the camera").click()
    expect(gabi.locator("#camera")).to_be_hidden()
    expect_verdict(gabi, "Come in", seat="Seat D1")


def test_a_ticket_passed_on_opens_the_door_to_its_new_owner_alone(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("409 /api/v1/checkins")
    session = tonight(site)
    ana, bruno, gabi = window(), window(), window(**PHONE)
    open_session(ana, session)
    choose(ana, "A1")
    hold(ana)
    pay(ana)
    expect_tickets(ana, 1)
    old = ana.locator(".ticket-stub code").inner_text()
    ana.get_by_role("link", name="Only this ticket").click()
    ana.get_by_text("Pass this ticket on").click()
    expect_accessible(ana)
    ana.get_by_label("Name of their account").fill("bruno")
    ana.get_by_role("button", name="Pass it on").click()
    expect(ana.get_by_text("You passed the ticket on.")).to_be_visible()
    sign_in(bruno, "bruno")
    bruno.locator('[aria-labelledby="given"] .purchase').click()
    expect(bruno.locator(".ticket-stub img")).to_be_visible()
    open_gate(gabi, session)
    hold_up(gabi, old)
    expect_verdict(gabi, "Void", more="It was passed on")
    hold_up(gabi, bruno.locator(".ticket-stub code").inner_text())
    expect_verdict(gabi, "Come in", seat="Seat A1")


def test_the_gate_is_for_gate_staff(window: Window, refusals: set[str]) -> None:
    refusals.add("403 /gate")
    ana = window()
    sign_in(ana, "ana", onward="/gate")
    expect(ana.get_by_role("heading", name="This is not allowed")).to_be_visible()


def test_a_ticket_is_paid_for_at_the_door_with_a_connection_and_without(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("409 /api/v1/checkins")
    kind = {"name": "Pista", "price": 9000, "capacity": 5, "pay_at_door": True}
    session = tonight(site, rows=None, seats_per_row=None, price=None, ticket_types=[kind])
    ana, gabi = window(**PHONE), window(**PHONE)
    open_session(ana, session)
    ana.get_by_role("button", name="One more").click()
    ana.locator("#order-form").get_by_text("At the door").click()
    expect_accessible(ana)
    ana.get_by_role("button", name="Buy now").click()
    ana.wait_for_url("**/orders/*")
    ana.get_by_role("link", name="The whole order").or_(ana.locator('a[href^="/sales/"]')).first.click()
    expect(ana.get_by_text("To pay at the door").first).to_be_visible()
    expect_accessible(ana)
    first, second = ana.locator(".ticket-stub code").all_inner_texts()

    open_gate(gabi, session)
    hold_up(gabi, first)
    expect_verdict(gabi, "To pay first", more="R$90.00")
    expect_accessible(gabi)
    gabi.get_by_role("button", name="R$90.00 taken: let in").click()
    expect_verdict(gabi, "Come in", seat="Pista")
    expect(gabi.locator("#collect")).to_be_hidden()

    expect(gabi.locator("html")).to_have_attribute("data-kept", "true")
    gabi.context.set_offline(True)
    expect(gabi.locator("#line")).to_have_attribute("data-state", "offline")
    hold_up(gabi, second)
    expect_verdict(gabi, "To pay first", more="R$90.00")
    expect(gabi.locator("#waiting")).to_have_text("0")
    gabi.get_by_role("button", name="R$90.00 taken: let in").click()
    expect_verdict(gabi, "Come in (without a connection)", seat="Pista")
    gabi.context.set_offline(False)
    expect(gabi.locator("#waiting")).to_have_text("0")
    expect(gabi.locator("#quarrels")).to_be_hidden()
    ana.reload()
    expect(ana.get_by_text("To pay at the door")).to_have_count(0)
