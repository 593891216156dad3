"""Buy, from choosing seats to holding tickets."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Shot, Site, Window
from tests.journeys.steps import (
    choose,
    expect_look,
    expect_tickets,
    hold,
    open_session,
    pay,
    seat,
    seconds_left,
)
from tests.processes import until

pytestmark = pytest.mark.journey


def test_two_windows_see_each_step_of_a_sale(site: Site, window: Window, shot: Shot) -> None:
    tonight = (datetime.now(UTC) + timedelta(days=90)).replace(hour=22, minute=30)
    hall = {"hall": site.hall(seats=240), "rows": None, "seats_per_row": None, "room": None}
    session = site.new_session("A Última Sessão", **hall, starts_at=tonight.isoformat())
    site.hold(session, *(f"F{number}" for number in range(5, 13)), then_pay=True)
    site.hold(session, *(f"G{number}" for number in range(8, 14)), then_pay=True)
    site.hold(session, "E11", "E12", "E13")
    site.hold(session, "D3", "D4")
    ana, bruno = window(), window()
    open_session(ana, session)
    open_session(bruno, session)

    choose(ana, "E8", "E9")
    expect(ana.locator("#choice-total")).to_have_text("R$60.00")
    shot(ana, "seat-map")
    hold(ana)
    expect_look(bruno, "E8", "h", within=1_000)
    expect_look(bruno, "E9", "h", within=1_000)
    expect_look(ana, "E8", "mine")
    shot(ana, "hold")
    first = seconds_left(ana)
    assert first <= 30
    until(lambda: seconds_left(ana) < first, what="the countdown")

    pay(ana)
    expect_tickets(ana, 2)
    expect(ana.locator(".ticket-stub code").first).to_have_text(re.compile(r"[0-9A-Z]{12}"))
    shot(ana, "tickets")
    expect_look(bruno, "E8", "s", within=1_000)

    ana.goto("/my-tickets")
    expect(ana.locator(".purchase")).to_have_count(1)
    bruno.goto("/my-tickets")
    expect(bruno.get_by_role("heading", name="No tickets yet")).to_be_visible()


def test_a_declined_card_keeps_the_hold_and_another_one_pays(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("402 /api/v1/reservations/*/pay")
    ana = window()
    open_session(ana, site.new_session())
    choose(ana, "B3")
    hold(ana)
    pay(ana, "declined")
    expect(ana.locator('[data-part="message"]')).to_contain_text("declined")
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    pay(ana, "slow")
    expect_tickets(ana, 1)


def test_a_ticket_that_is_given_back_is_on_sale_again(site: Site, window: Window) -> None:
    session = site.new_session(starts_at=(datetime.now(UTC) + timedelta(days=3)).isoformat())
    ana, bruno = window(), window()
    open_session(bruno, session)
    open_session(ana, session)
    choose(ana, "B3", "B4")
    hold(ana)
    pay(ana)
    expect_tickets(ana, 2)
    expect_look(bruno, "B3", "s")
    ana.get_by_text("Give tickets back").click()
    ana.get_by_role("checkbox", name=re.compile("B3")).check()
    ana.get_by_role("button", name="Give the chosen tickets back").click()
    expect(ana.locator(".notices")).to_contain_text("R$30.00 is on its way back to you.")
    expect(ana.locator(".badge").first).to_have_text("Partly given back")
    expect_look(bruno, "B3", "f")
    expect_look(bruno, "B4", "s")


def test_a_hold_that_runs_out_says_so_and_frees_the_seat(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=3)
    ana, bruno = window(), window()
    open_session(ana, session)
    open_session(bruno, session)
    choose(ana, "A1")
    hold(ana)
    expect(ana.locator('[data-part="message"]')).to_contain_text("left")
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "expired", timeout=6_000)
    expect(ana.get_by_role("heading", name="Your hold has run out")).to_be_visible()
    expect_look(bruno, "A1", "f")
    ana.get_by_role("button", name="Choose again").click()
    choose(ana, "A2")


def test_more_time_can_be_had_and_seats_given_back(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=20)
    ana = window()
    open_session(ana, session)
    choose(ana, "A1", "A2")
    hold(ana)
    until(lambda: seconds_left(ana) < 19, what="two seconds passing")
    before = seconds_left(ana)
    ana.get_by_role("button", name="More time").click()
    until(lambda: seconds_left(ana) > before, what="more time")
    ana.get_by_role("button", name="Release").click()
    expect(ana.get_by_role("heading", name="Released")).to_be_visible()
    expect_look(ana, "A1", "f")


def test_a_reload_loses_nothing(site: Site, window: Window) -> None:
    session = site.new_session()
    ana = window()
    open_session(ana, session)
    choose(ana, "C1")
    hold(ana)
    ana.reload()
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect_look(ana, "C1", "mine")

    ana.goto("/my-tickets")
    ana.locator(".purchase").click()
    expect(ana).to_have_url(re.compile("/reservations/"))
    until(lambda: 0 < seconds_left(ana) <= 30, what="the countdown")
    pay(ana)
    expect_tickets(ana, 1)


def test_places_without_a_number_are_counted_not_chosen(site: Site, window: Window) -> None:
    session = site.new_session(
        rows=None,
        seats_per_row=None,
        ticket_types=[
            {"name": "Pista", "price": 12000, "capacity": 3},
            {"name": "Camarote", "price": 30000, "capacity": 50},
        ],
    )
    ana, bruno = window(), window()
    open_session(ana, session)
    open_session(bruno, session)
    floor = ana.locator("[data-stock]", has_text="Pista")
    floor.get_by_role("button", name="One more").click()
    floor.get_by_role("button", name="One more").click()
    expect(ana.locator("#choice-total")).to_have_text("R$240.00")
    hold(ana)
    expect(bruno.locator("[data-stock]", has_text="Pista").locator("[data-left-words]")).to_have_text("The last one")
    pay(ana)
    expect_tickets(ana, 2)


def test_the_slower_buyer_sees_which_seats_are_gone(site: Site, window: Window) -> None:
    session = site.new_session()
    bruno = window()
    open_session(bruno, session)
    choose(bruno, "A1", "A2")
    site.hold(session, "A1")
    expect_look(bruno, "A1", "lost", within=1_000)
    expect(bruno.locator("#choice-message")).to_contain_text("A1")
    expect_look(bruno, "A2", "chosen")


def test_one_of_two_simultaneous_buyers_has_the_seat(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("409 /api/v1/reservations perhaps")
    session = site.new_session()
    fighters = window(), window()
    for page in fighters:
        open_session(page, session)
        choose(page, "A1")
    for page in fighters:
        page.evaluate("document.querySelector('#hold').click()")  # it waits for nothing
    panels = [page.locator("#hold-panel") for page in fighters]
    until(lambda: "held" in [panel.get_attribute("data-status") for panel in panels], what="a winner")
    winner, loser = sorted(
        fighters, key=lambda page: page.locator("#hold-panel").get_attribute("data-status") != "held"
    )
    expect_look(winner, "A1", "mine")
    expect_look(loser, "A1", "lost")
    expect(loser.locator("#choice-message")).to_contain_text("Another buyer was faster: A1 is taken")
    expect(loser.locator("#hold-panel")).to_be_hidden()


def test_a_refusal_marks_the_lost_seats_even_without_a_socket(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("409 /api/v1/reservations")
    session = site.new_session()
    bruno = window()
    bruno.route_web_socket("**/ws/**", lambda _socket: None)
    bruno.goto(f"/sessions/{session}")
    bruno.wait_for_selector("html[data-ready]")
    choose(bruno, "A1", "A2")
    site.hold(session, "A1")
    bruno.locator("#hold").click()
    expect_look(bruno, "A1", "lost")
    expect(bruno.locator("#choice-message")).to_contain_text("Another buyer was faster: A1 is taken")
    hold(bruno)
    pay(bruno)
    expect_tickets(bruno, 1)


def test_a_request_that_has_to_wait_says_so_and_is_kept(site: Site, window: Window) -> None:
    ana = window()
    open_session(ana, site.new_session())
    choose(ana, "B5")
    for process in site.allocating:
        process.pause()
    try:
        ana.locator("#hold").click()
        expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "queued", timeout=10_000)
        expect(ana.get_by_role("heading", name="In the queue")).to_be_visible()
        expect_look(ana, "B5", "chosen")
    finally:
        for process in site.allocating:
            process.resume()
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held", timeout=10_000)
    expect_look(ana, "B5", "mine")


def test_a_lost_connection_is_said_and_made_up_for(site: Site, window: Window) -> None:
    session = site.new_session()
    ana = window()
    open_session(ana, session)
    ana.context.set_offline(True)
    expect(ana.locator("#connection")).to_have_attribute("data-state", "offline")
    site.hold(session, "B2")
    expect_look(ana, "B2", "f")
    ana.context.set_offline(False)
    expect(ana.locator("#connection")).to_have_attribute("data-state", "live")
    expect_look(ana, "B2", "h")
    expect(seat(ana, "B2")).to_have_attribute("aria-label", "Row B seat 2, held")


def test_a_page_finds_its_buyers_places_without_the_personal_socket(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=300)
    ana = window()
    ana.route_web_socket("**/ws/me", lambda socket: socket.close())
    open_session(ana, session)
    choose(ana, "C3", "C4")
    hold(ana)
    open_session(ana, session)
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect_look(ana, "C3", "mine")
    pay(ana)
    expect_tickets(ana, 2)
    open_session(ana, session)
    expect_look(ana, "C4", "mine")
    open_session(ana, site.new_session())
    expect_look(ana, "C4", "f")
