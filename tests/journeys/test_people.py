"""Buy as every kind of visitor: by keyboard, on a phone, in Portuguese, with an account, with a program."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_look, expect_tickets, hold, open_session, pay, seat

pytestmark = pytest.mark.journey

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, as a person without a mouse would."""
    for _press in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never reaches {selector}")


def test_a_ticket_is_bought_by_keyboard_alone(site: Site, window: Window) -> None:
    ana = window()
    open_session(ana, site.new_session())
    tab_to(ana, "[data-seat]")
    expect(seat(ana, "A1")).to_be_focused()
    press(ana, "ArrowRight", "ArrowRight", "ArrowDown")
    expect(seat(ana, "B3")).to_be_focused()
    expect(seat(ana, "B3")).to_have_attribute("aria-label", "Row B seat 3, free, R$30.00")
    press(ana, "Enter", "End", "Space")
    expect_look(ana, "B3", "chosen")
    expect_look(ana, "B8", "chosen")
    expect(ana.locator("#announcer")).to_have_text("Chosen: Row B seat 8, chosen, R$30.00")
    press(ana, "Home", "ArrowUp", "ArrowUp", "ArrowLeft")
    expect(seat(ana, "A1")).to_be_focused()

    tab_to(ana, "#hold")
    press(ana, "Enter")
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect(ana.locator("#hold-title")).to_be_focused()
    tab_to(ana, '#payment input[value="ok"]')
    tab_to(ana, '#payment [type="submit"]')
    press(ana, "Enter")
    expect_tickets(ana, 2)


def test_a_ticket_is_bought_without_scripts(site: Site, window: Window) -> None:
    session = site.new_session()
    site.hold(session, "A1")
    ana = window(java_script_enabled=False)
    ana.goto(f"/sessions/{session}")
    expect(ana.get_by_role("checkbox", name="Row A seat 1, held")).to_be_disabled()
    ana.get_by_role("checkbox", name="Row B seat 3, free, R$30.00").check()
    ana.get_by_role("checkbox", name="Row B seat 4, free, R$30.00").check()
    site.hold(session, "B3")
    ana.get_by_role("button", name="Hold these places").click()
    expect(ana.locator(".notices")).to_contain_text("B3")
    expect(ana.get_by_role("checkbox", name="Row B seat 4, free, R$30.00")).to_be_checked()
    ana.get_by_role("button", name="Hold these places").click()
    expect(ana.locator("#hold-panel noscript strong")).to_be_visible()
    ana.get_by_role("button", name="More time").click()
    pay(ana, "declined")
    expect(ana.locator(".notices")).to_contain_text("declined")
    pay(ana)
    expect(ana.locator(".ticket")).to_have_count(1)
    expect(ana.locator(".ticket-seat").first).to_contain_text("B")


def test_the_best_seats_are_found_for_three(site: Site, window: Window) -> None:
    session = site.new_session()
    ana = window(**PHONE)
    open_session(ana, session)
    ana.get_by_label("How many seats").select_option("3")
    ana.get_by_role("button", name="Hold the best").tap()
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect(ana.locator('[data-look="mine"][data-seat]')).to_have_count(3)
    ana.get_by_role("button", name="Release").tap()
    expect(ana.locator('[data-look="mine"][data-seat]')).to_have_count(0)


def test_a_phone_is_wide_enough(site: Site, window: Window) -> None:
    ana = window(**PHONE)
    ana.goto("/")
    expect_no_sideways_scroll(ana)
    open_session(ana, site.new_session())
    expect_no_sideways_scroll(ana)
    expect_targets(ana, "a:visible:not(p a, footer a), button:visible, [data-seat]")
    seat(ana, "C4").tap()
    seat(ana, "C5").tap()
    expect(ana.locator("#choice-total")).to_be_in_viewport()
    ana.locator("#hold").tap()
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect_no_sideways_scroll(ana)
    expect(ana.locator("[data-seconds]")).to_be_in_viewport()
    pay(ana)
    expect_tickets(ana, 2)
    expect_no_sideways_scroll(ana)


def expect_no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")


def expect_targets(page: Page, selector: str, *, least: float = 24) -> None:
    """Check WCAG 2.2, 2.5.8: a target is 24 by 24, or has that much room around its middle (seats do)."""
    for target in page.locator(selector).all():
        box = target.bounding_box()
        assert box is not None
        room = least if target.get_attribute("data-seat") is None else 19.5
        assert min(box["width"], box["height"]) >= room, (target, box)


def test_the_language_is_the_readers_and_can_be_switched(site: Site, window: Window) -> None:
    session = site.new_session()
    ana = window(locale="pt-BR")
    open_session(ana, session)
    expect(ana.locator("html")).to_have_attribute("lang", "pt-br")
    expect(seat(ana, "A1")).to_have_attribute("aria-label", re.compile("Fileira A poltrona 1, livre, R\\$\\s30,00"))
    choose(ana, "A1")
    expect(ana.locator("#choice-total")).to_have_text(re.compile("R\\$\\s30,00"))
    expect(ana.get_by_role("heading", name="Sua escolha")).to_be_visible()

    ana.get_by_role("button", name="English").click()
    ana.wait_for_selector("html[data-ready]")
    expect(ana).to_have_url(re.compile(f"/sessions/{session}"))
    expect(ana.locator("html")).to_have_attribute("lang", "en")
    expect(seat(ana, "A1")).to_have_attribute("aria-label", "Row A seat 1, free, R$30.00")
    ana.get_by_role("button", name="Português").click()
    expect(ana.get_by_role("link", name="Meus ingressos")).to_be_visible()


def test_a_guest_who_makes_an_account_keeps_the_hold(site: Site, window: Window) -> None:
    session = site.new_session()
    ana = window()
    open_session(ana, session)
    choose(ana, "A5")
    hold(ana)
    ana.get_by_role("link", name="Sign in").click()
    ana.get_by_role("link", name="Make an account").click()
    name = f"carla-{uuid.uuid4().hex[:6]}"
    ana.get_by_label("Name to sign in with").fill(name)
    ana.get_by_label("E-mail").fill("carla@example.org")
    ana.get_by_label("Password", exact=True).fill("sessao-da-meia-noite")
    ana.get_by_label("Password confirmation").fill("sessao-da-meia-noite")
    ana.get_by_role("button", name="Make an account").click()

    ana.wait_for_url(f"**/sessions/{session}")
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
    expect_look(ana, "A5", "mine")
    pay(ana)
    expect_tickets(ana, 1)

    ana.get_by_role("button", name="Sign out").click()
    ana.goto("/my-tickets")
    expect(ana.get_by_role("heading", name="No tickets yet")).to_be_visible()
    ana.get_by_role("link", name="Bought with an account? Sign in").click()
    ana.get_by_label("Username").fill(name)
    ana.get_by_label("Password").fill("sessao-da-meia-noite")
    ana.get_by_role("button", name="Sign in").click()
    expect(ana.locator(".purchase")).to_have_count(1)


def test_a_wrong_address_leads_back_to_what_is_on(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("404 /nowhere")
    ana = window()
    ana.goto("/nowhere")
    expect(ana.get_by_role("heading", name="There is nothing here")).to_be_visible()
    ana.get_by_role("link", name="See what's on").click()
    expect(ana.get_by_role("heading", name="What's on")).to_be_visible()


def test_a_film_is_found_by_its_title(site: Site, window: Window) -> None:
    site.new_session("O Farol das Baleias")
    ana = window()
    ana.goto("/")
    ana.get_by_label("Search by title").fill("baleias")
    ana.get_by_role("button", name="Search").click()
    expect(ana.locator(".show")).to_have_count(1)
    ana.locator(".time").click()
    expect(ana.get_by_role("heading", name="O Farol das Baleias")).to_be_visible()
    ana.goto("/?q=xyzzy")
    expect(ana.get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_a_large_hall_is_seen_whole_and_then_near(site: Site, window: Window) -> None:
    far = datetime.now(UTC) + timedelta(days=82)
    hall: dict[str, Any] = {"hall": site.hall(seats=2400), "room": None, "rows": None, "seats_per_row": None}
    ana = window(**PHONE)
    open_session(ana, site.new_session(**hall, starts_at=far.isoformat()))
    plan, pane = ana.locator("svg.plan"), ana.locator(".plan-pane")
    whole, frame = plan.bounding_box(), pane.bounding_box()
    assert whole is not None
    assert frame is not None
    assert frame["x"] <= whole["x"]
    assert whole["width"] <= frame["width"]
    expect_no_sideways_scroll(ana)

    pane.tap(position={"x": frame["width"] / 2, "y": 60})
    expect(plan).not_to_have_attribute("data-overview", "")
    expect(ana.locator("#choice-places")).to_have_text("You have not chosen anything yet")
    label = ana.evaluate(IN_THE_MIDDLE)
    room = seat(ana, label).bounding_box()
    assert room is not None
    assert min(room["width"], room["height"]) >= 19.5
    seat(ana, label).tap()
    expect_look(ana, label, "chosen")
    expect_no_sideways_scroll(ana)

    near = width_of(plan)
    ana.get_by_role("button", name="Zoom out").tap()
    assert width_of(plan) < near
    pane.dispatch_event("wheel", {"deltaY": -400, "ctrlKey": True, "clientX": 200, "clientY": 400})
    assert width_of(plan) > near


IN_THE_MIDDLE = """() => {
  const { left, top, width } = document.querySelector(".plan-pane").getBoundingClientRect();
  const away = (seat) => { const { x, y } = seat.getBoundingClientRect(); return Math.hypot(x - left - width / 2, y - top - 120); };
  return [...document.querySelectorAll('[data-seat][data-look="f"]')].sort((one, other) => away(one) - away(other))[0].dataset.seat;
}"""


def width_of(plan: Locator) -> float:
    box = plan.bounding_box()
    assert box is not None
    return box["width"]
