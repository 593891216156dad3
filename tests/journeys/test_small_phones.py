"""Use the smallest phones: no page is wider than the screen, whatever the names, and every refusal is in sight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.journeys import test_live_map
from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_look, expect_tickets, hold, open_session, pay, seat
from tests.journeys.test_gate import sign_in

pytestmark = pytest.mark.journey

WIDTHS = (320, 360, 390, 412)  # widths of phones, in pixels
SMALL: dict[str, Any] = {"viewport": {"width": 320, "height": 568}, "has_touch": True}
TITLE = "DonaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftPneumoultramicroscopicossilico"
WORD = "Inconstitucionalissimamenteotorrinolaringologista"
DEAR = 199_999_999  # minor units
TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= wide) return [];
    const reaches = [...document.querySelectorAll("body *")].filter((part) => part.getBoundingClientRect().right > wide + 0.5);
    return reaches.map((part) => `${part.tagName}.${part.className?.baseVal ?? part.className}#${part.id}`).slice(0, 12).concat("too wide");
}"""
CUT_OFF = """() => {
    const found = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const range = document.createRange();
        range.selectNodeContents(walker.currentNode);
        const lines = [...range.getClientRects()].filter(({ width }) => width);
        for (let part = walker.currentNode.parentElement; lines.length && part && !part.matches(".visually-hidden, .label, svg"); part = part.parentElement) {
            const { overflowX, overflowY, clipPath } = getComputedStyle(part);
            const box = part.getBoundingClientRect();
            const left = box.left + Number(/ ([\\d.]+)px\\)$/.exec(clipPath)?.[1] ?? 0);
            const hides = (overflow) => overflow === "hidden" || overflow === "clip";
            const isCut = (line) => (clipPath !== "none" && line.left < left - 1)
                || (hides(overflowX) && (line.left < box.left - 1 || line.right > box.right + 1))
                || (hides(overflowY) && (line.top < box.top - 2 || line.bottom > box.bottom + 2));
            if (lines.some(isCut)) found.add(`${walker.currentNode.data.trim().slice(0, 60)} in ${part.tagName}.${part.className}`);
        }
    }
    return [...found];
}"""
BROKEN = """() => [...document.querySelectorAll("dt")].filter((name) => {
    const range = document.createRange();
    range.selectNodeContents(name);
    const lines = [...range.getClientRects()].filter(({ width }) => width);
    return /^\\S{1,12}$/.test(name.textContent.trim()) && lines.length > 1;
}).map((name) => name.textContent)"""


def session_of_long_words(site: Site) -> str:
    """Make a session with seats and unnumbered places."""
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
    """Expect on phones of each width that no page is too wide, no letter hidden, and no short name broken."""
    if address:
        page.goto(address)
        page.wait_for_load_state()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 700})
        for what_is_wrong in (TOO_WIDE, CUT_OFF, BROKEN):
            assert page.evaluate(what_is_wrong) == [], (page.url, width)
    page.set_viewport_size(SMALL["viewport"])


@pytest.mark.parametrize("language", ["en-US", "pt-BR"])
def test_every_page_fits_a_phone_and_cuts_no_word_off(
    site: Site, window: Window, language: str, refusals: set[str]
) -> None:
    refusals.add("404 /nowhere")
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
    """Order an unnumbered place for this page's buyer, and return the order's id."""
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


def test_the_gates_pages_fit_a_phone(site: Site, window: Window) -> None:
    session = session_of_long_words(site)
    gabi = window(**SMALL)
    sign_in(gabi, "gate", onward="/gate")
    expect_to_fit(gabi, "/gate")
    expect_to_fit(gabi, f"/gate/{session}")


@pytest.mark.parametrize(
    ("language", "why"),
    [
        ("en-US", "At most 10 seats. Remove one to choose another."),
        ("pt-BR", "No máximo 10 lugares. Solte um para pegar outro."),
    ],
)
def test_a_seat_beyond_the_limit_is_refused_in_sight_and_nothing_moves(
    site: Site, window: Window, language: str, why: str
) -> None:
    ana = window(**SMALL, locale=language)
    open_session(ana, site.new_session())
    choose(ana, *(f"{row}{number}" for row in "AB" for number in range(1, 6)))
    for width in WIDTHS:
        ana.set_viewport_size({"width": width, "height": 700})
        seat(ana, "A1").tap()
        seat(ana, "A1").tap()
        expect(ana.locator(".plan-hint")).not_to_have_text(why)
        before = ana.locator("svg.plan").bounding_box()
        seat(ana, "A6").tap()
        expect(ana.locator(".plan-hint")).to_have_text(why)
        expect(ana.locator(".plan-hint")).to_be_in_viewport(ratio=1)
        expect(ana.locator("#announcer")).to_have_text(why)
        expect_to_be_whole(ana.locator(".plan-hint"), within=ana.locator(".plan-words"))
        assert ana.locator("svg.plan").bounding_box() == before
        expect_look(ana, "A6", "f")


def expect_to_be_whole(words: Locator, *, within: Locator) -> None:
    inner, outer = words.bounding_box(), within.bounding_box()
    assert inner is not None
    assert outer is not None
    assert inner == outer, "the words lie over the map"
    assert words.evaluate("(part) => part.scrollHeight <= part.clientHeight && part.scrollWidth <= part.clientWidth")


@pytest.mark.parametrize("width", [320, 390])
def test_every_seat_can_be_ticked_without_scripts_beside_places_without_a_number(
    site: Site, window: Window, width: int
) -> None:
    ana = window(viewport={"width": width, "height": 640}, java_script_enabled=False)
    ana.goto(f"/sessions/{session_of_long_words(site)}")
    for label in ("A1", "B4", "D8"):
        ana.locator(f'input[name="seats"][value="{label}"]').click()
    ana.locator('#choose button[value="seats"]').click()
    ana.wait_for_url("**/reservations/*")
    expect(ana.locator("main")).to_contain_text("Row D seat 8")


def test_the_admins_pages_hold_long_words(site: Site, window: Window) -> None:
    session = session_of_long_words(site)
    site.hold(session, "A1", then_pay=True)
    beto = window(**SMALL)
    test_live_map.sign_in(beto)
    for address in (
        f"/admin/sessions/{session}/map",
        f"/admin/sessions_app/session/{session}/change/",
        "/admin/sessions_app/session/",
        "/admin/ticketing/sale/",
        "/admin/glance",
    ):
        beto.goto(address)
        for width in (320, 1280):
            beto.set_viewport_size({"width": width, "height": 700})
            assert beto.evaluate(TOO_WIDE) == [], (address, width)
