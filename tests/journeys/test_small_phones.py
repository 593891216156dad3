"""The smallest phones: nothing wider than the screen, whatever people called it, and every refusal in sight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_tickets, hold, open_session, pay, seat
from tests.journeys.test_gate import sign_in

pytestmark = pytest.mark.journey

SMALL = {"viewport": {"width": 320, "height": 568}, "has_touch": True}
TITLE = "DonaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftPneumoultramicroscopicossilico"
WORD = "Inconstitucionalissimamenteotorrinolaringologista"
DEAR = 199_999_999  # minor units
TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= wide) return [];
    const reaches = [...document.querySelectorAll("body *")].filter((part) => part.getBoundingClientRect().right > wide + 0.5);
    return reaches.map((part) => `${part.tagName}.${part.className?.baseVal ?? part.className}#${part.id}`).slice(0, 12).concat("too wide");
}"""


def session_of_long_words(site: Site) -> str:
    """Seats, and places without a number."""
    return site.new_session(
        TITLE[:120],
        room=WORD,
        price=DEAR,
        starts_at=(datetime.now(UTC) + timedelta(hours=2)).isoformat(),
        hold_seconds=300,
        max_per_buyer=3,
        ticket_types=[{"name": WORD, "price": DEAR, "capacity": 30, "pay_at_door": True}],
    )


def expect_to_fit(page: Page, address: str = "") -> None:
    if address:
        page.goto(address)
        page.wait_for_load_state()
    assert page.evaluate(TOO_WIDE) == [], page.url


@pytest.mark.parametrize("language", ["en-US", "pt-BR"])
def test_every_page_fits_a_phone_of_320_pixels(site: Site, window: Window, language: str) -> None:
    session = session_of_long_words(site)
    page = window(**SMALL, locale=language)
    for address in (
        "/",
        f"/?q={TITLE[:20]}",
        "/sign-in",
        "/register",
        "/my-tickets",
        "/orders",
        "/nowhere",
        f"/sessions/{session}",
    ):
        expect_to_fit(page, address)
    page.goto(f"/sessions/{session}")
    page.wait_for_selector("html[data-ready]")
    choose(page, "A1", "A2")
    expect_to_fit(page)
    hold(page)
    expect_to_fit(page)
    reservation = page.evaluate(
        "fetch('/api/v1/reservations').then((answer) => answer.json()).then(({ results }) => results[0].id)"
    )
    expect_to_fit(page, f"/reservations/{reservation}")
    page.wait_for_selector("html[data-ready]")
    pay(page)
    expect_tickets(page, 2)
    expect_to_fit(page)
    ticket = str(page.locator('a[href^="/tickets/"]').first.get_attribute("href"))
    for address in (ticket, "/my-tickets"):
        expect_to_fit(page, address)
    order = order_of(site, session, page)
    for address in (f"/orders/{order}", "/orders"):
        expect_to_fit(page, address)


def order_of(site: Site, session: str, page: Page) -> str:
    """The id of an order by this page's buyer, for a place without a number."""
    types = site.call("GET", f"/ticket-types?session={session}")["results"]
    kind = next(kind["id"] for kind in types if kind["name"] == WORD)
    asked: Any = page.evaluate(
        """async ([kind, token]) => (await fetch("/api/v1/orders", {
            method: "POST", body: JSON.stringify({ ticket_type: kind, quantity: 1 }),
            headers: { "Content-Type": "application/json", "Idempotency-Key": kind, "X-CSRFToken": token },
        })).json()""",
        [kind, page.locator('input[name="csrfmiddlewaretoken"]').first.input_value()],
    )
    return str(asked["id"])


def test_the_gates_pages_fit_a_phone_of_320_pixels(site: Site, window: Window) -> None:
    session = session_of_long_words(site)
    gabi = window(**SMALL)
    sign_in(gabi, "gate", onward="/gate")
    expect_to_fit(gabi, "/gate")
    expect_to_fit(gabi, f"/gate/{session}")


def test_a_seat_beyond_the_limit_is_refused_in_sight_and_nothing_moves(site: Site, window: Window) -> None:
    ana = window(**SMALL)
    open_session(ana, session_of_long_words(site))
    choose(ana, "A1", "A2", "A3")
    before = ana.locator("svg.plan").bounding_box()
    seat(ana, "A4").tap()
    why = "You can choose 3 seats at the most. To take another, let one go first."
    expect(ana.locator(".plan-hint")).to_have_text(why)
    expect(ana.locator(".plan-hint")).to_be_in_viewport(ratio=1)
    assert ana.evaluate("(hint) => hint.scrollHeight <= hint.clientHeight", ana.locator(".plan-hint").element_handle())
    expect(ana.locator("#announcer")).to_have_text(why)
    assert ana.locator("svg.plan").bounding_box() == before
    expect(seat(ana, "A4")).to_have_attribute("data-look", "f")
    seat(ana, "A1").tap()
    expect(ana.locator(".plan-hint")).not_to_have_text(why)
