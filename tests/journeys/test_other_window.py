"""Sign in or out in another window while a page is open."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_tickets, hold, open_session, pay
from tests.journeys.test_gate import sign_in

pytestmark = pytest.mark.journey


def other_window_of(page: Page) -> Page:
    return page.context.new_page()


def test_a_guest_who_signs_in_elsewhere_extends_pays_and_releases_here(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("403 /api/v1/reservations/*/extend")
    ana, session = window(), site.new_session(hold_seconds=300)
    open_session(ana, session)
    choose(ana, "A1", "A2")
    hold(ana)
    sign_in(other_window_of(ana), "ana")
    ana.get_by_role("button", name="More time").click()
    expect(ana.locator('[data-part="message"]')).to_be_hidden()
    pay(ana)
    expect_tickets(ana, 2)


def test_a_page_of_another_person_does_nothing_and_says_what_to_do(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.update(
        {
            "403 /api/v1/reservations/*/pay",
            "404 /api/v1/reservations/*",
            "409 /api/v1/reservations/*",
            "409 /api/v1/reservations/*/pay",
        }
    )
    ana, session = window(), site.new_session(hold_seconds=300)
    sign_in(ana, "ana")
    open_session(ana, session)
    choose(ana, "B1")
    hold(ana)
    elsewhere = other_window_of(ana)
    elsewhere.goto("/my-tickets")
    elsewhere.get_by_role("button", name="Sign out").click()
    sign_in(elsewhere, "bruno")
    pay(ana)
    expect(ana.locator('[data-part="message"]')).to_contain_text("Reload this page")
    ana.get_by_role("button", name="Release").click()
    expect(ana.locator('[data-part="message"]')).to_contain_text("Reload this page")
    elsewhere.get_by_role("button", name="Sign out").click()
    sign_in(elsewhere, "ana")
    open_session(ana, session)
    expect(ana.locator("#hold-panel")).to_have_attribute("data-status", "held")
