"""Use the box office's live map, and watch the buyers' pages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import READY, choose, expect_look, expect_tickets, hold, open_session, pay, seat
from tests.journeys.test_people import PHONE, expect_no_sideways_scroll

pytestmark = pytest.mark.journey


def sign_in(page: Page, username: str = "boxoffice") -> None:
    """Sign in on the site's own page, because the admin's needs scripts."""
    page.goto("/sign-in?next=/my-tickets")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill("frontrow-demo")
    page.locator("main").get_by_role("button").click()
    expect(page).to_have_url(re.compile(r"//[^/]+/my-tickets$"))


def open_desk(page: Page, session: str) -> None:
    page.goto(f"/admin/sessions/{session}/map")
    page.wait_for_selector(READY)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def order(page: Page, action: str) -> None:
    page.locator(f'#desk-form [value="{action}"]').click()


def test_a_moved_buyer_sees_it_on_the_open_page(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=300)
    ana, beto = window(), window()
    open_session(ana, session)
    choose(ana, "A1", "A2")
    hold(ana)
    sign_in(beto)
    open_desk(beto, session)
    expect_look(beto, "A1", "h")
    choose(beto, "A1", "A2")
    expect(beto.locator("#of-chosen")).to_contain_text(re.compile("Guest …[0-9a-f]{6}.*A1, A2 · held"))
    order(beto, "move")
    expect_look(beto, "A1", "mine")
    choose(beto, "C3", "C4")
    order(beto, "move")
    expect(beto.locator("#told")).to_have_text("The buyer was moved from A1, A2 to C3, C4.")
    expect(beto.locator("#holders")).to_contain_text("C3, C4")

    for label, look in {"C3": "mine", "C4": "mine", "A1": "f", "A2": "f"}.items():
        expect_look(ana, label, look)  # type: ignore[arg-type] # a dictionary of looks
    expect(ana.locator('#hold-panel [data-part="message"]')).to_contain_text("Row C seat 3 and Row C seat 4")
    expect(ana.locator('#hold-panel [data-part="seats"]')).to_contain_text("Row C seat 3")

    pay(ana)
    expect_tickets(ana, 2)
    expect(seat(beto, "C3")).to_have_attribute("aria-label", "Row C seat 3, sold, chosen")
    open_session(ana, session)
    expect_look(ana, "C3", "mine")
    beto.locator("#seats").fill("C3")
    expect(beto.locator("#of-chosen")).to_contain_text("confirmed")
    order(beto, "move")
    beto.locator("#to").fill("D1")
    order(beto, "move")
    expect(beto.locator("#told")).to_have_text("The buyer was moved from C3 to D1.")
    expect_look(ana, "D1", "mine")
    expect_look(ana, "C3", "f")
    ana.goto("/my-tickets")
    ana.locator(".purchase").click()
    expect_tickets(ana, 2)
    expect(ana.locator(".rows")).to_contain_text("Standard, D1")


def test_the_desk_works_by_keyboard_alone(site: Site, window: Window) -> None:
    session = site.new_session()
    ana, beto = window(), window()
    open_session(ana, session)
    sign_in(beto)
    open_desk(beto, session)
    seat(beto, "A1").focus()
    for key in ("Enter", "End", "Shift+Enter"):
        beto.keyboard.press(key)
    expect(beto.locator("#seats")).to_have_value("A1, A2, A3, A4, A5, A6, A7, A8")
    beto.locator('#desk-form [value="block"]').focus()
    beto.keyboard.press("Enter")
    expect(beto.locator("#told")).to_have_text("8 seats were taken off sale.")
    expect(beto.locator('[data-count="b"]')).to_have_text("8")
    expect_look(ana, "A8", "b")


def test_a_release_is_asked_twice_and_frees_the_buyers_seats(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("409 /admin/sessions/*/map")
    session = site.new_session(hold_seconds=300)
    ana, beto = window(), window()
    open_session(ana, session)
    choose(ana, "B1")
    hold(ana)
    sign_in(beto)
    open_desk(beto, session)
    choose(beto, "B1")
    order(beto, "release")
    beto.get_by_role("button", name="Keep it").click()
    expect_look(ana, "B1", "mine")
    order(beto, "release")
    beto.get_by_role("button", name="Release it").click()
    expect(beto.locator("#told")).to_contain_text("released")
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "cancelled")
    expect_look(ana, "B1", "f")
    site.hold(session, "B2", then_pay=True)
    expect_look(beto, "B2", "s")
    beto.locator("#seats").fill("B2")
    order(beto, "release")
    beto.get_by_role("button", name="Release it").click()
    expect(beto.locator("#told")).to_contain_text("Give the money back under Sales")


def test_the_desk_works_without_scripts(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=300)
    site.hold(session, "A1", "A2")
    beto = window(java_script_enabled=False)
    sign_in(beto)
    beto.goto(f"/admin/sessions/{session}/map")
    expect(beto.locator("#holders")).to_contain_text("A1, A2")
    beto.locator("#seats").fill("B1, B2")
    order(beto, "block")
    expect(beto.get_by_text("2 seats were taken off sale.")).to_be_visible()
    beto.locator("#seats").fill("A2")
    beto.locator("#seats").press("Enter")
    beto.locator("#to").fill("D1")
    beto.locator("#to").press("Enter")
    order(beto, "move")
    beto.get_by_role("button", name="Move them").click()
    expect(beto.get_by_text("The buyer was moved from A2 to D1.")).to_be_visible()
    beto.locator("#holders button").click()
    beto.get_by_role("button", name="Release it").click()
    expect(beto.get_by_text("The reservation is released; its places are free.")).to_be_visible()


def test_the_gate_sees_the_map_and_no_more(site: Site, window: Window) -> None:
    session = site.new_session()
    site.hold(session, "A1", then_pay=True)
    gabi = window(**PHONE)
    sign_in(gabi, "gate")
    open_desk(gabi, session)
    expect_look(gabi, "A1", "s")
    expect(gabi.locator("#desk-form, #holders")).to_have_count(0)
    expect_no_sideways_scroll(gabi)


def test_sales_at_a_glance_fit_a_phone(site: Site, window: Window) -> None:
    site.hold(site.new_session(), "A1", then_pay=True)
    beto = window(**PHONE)
    sign_in(beto)
    beto.goto("/admin/glance")
    expect(beto.get_by_role("img", name="Tickets sold by hour")).to_be_visible()
    expect_no_sideways_scroll(beto)
