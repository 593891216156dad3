"""Order in one step: from the number of places to the tickets, or to the reason why there are none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import expect_tickets, open_session
from tests.journeys.test_people import PHONE, expect_no_sideways_scroll

pytestmark = pytest.mark.journey

FLOOR = {"name": "Pista", "price": 12000, "capacity": 12}


def with_stock(site: Site, *types: dict[str, object]) -> str:
    """Make a session that sells only unnumbered places."""
    return site.new_session(rows=None, seats_per_row=None, ticket_types=list(types or (FLOOR,)))


def buy(page: Page, token: str = "ok") -> None:
    """Buy with this card, and expect the order's own page."""
    page.locator(f'#order-form input[value="{token}"]').check()
    page.locator("#buy").click()
    page.wait_for_url("**/orders/*")


@contextmanager
def nobody_allocates(site: Site) -> Iterator[None]:
    for process in site.allocating:
        process.pause()
    try:
        yield
    finally:
        for process in site.allocating:
            process.resume()


def test_one_click_orders_and_leads_to_the_tickets(site: Site, window: Window) -> None:
    session = with_stock(site)
    ana, bruno = window(**PHONE), window()
    open_session(bruno, session)
    open_session(ana, session)
    ana.get_by_role("button", name="One more").click()
    expect(ana.locator("#buy")).to_have_text("Buy now for R$240.00")
    expect_no_sideways_scroll(ana)
    ana.locator("#buy").dblclick()
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")
    expect(ana.locator("#order-said")).to_contain_text("the tickets are yours")
    expect_no_sideways_scroll(ana)
    expect(bruno.locator("[data-left-words]")).to_have_text("The last 10")
    expect(bruno.locator("#announcer")).to_have_text("Pista: The last 10")
    ana.get_by_role("link", name="See your tickets").click()
    expect_tickets(ana, 2)
    ana.goto("/orders")
    expect(ana.locator("[data-order]")).to_have_count(1)
    ana.locator("[data-order]").click()
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")


def test_the_page_says_what_sold_out_meanwhile(site: Site, window: Window) -> None:
    session = with_stock(site, {**FLOOR, "capacity": 2}, {"name": "Camarote", "price": 30000, "capacity": 50})
    ana, bruno = window(), window()
    for page in (ana, bruno):
        open_session(page, session)
        row = page.locator("[data-stock]", has_text="Pista")
        row.get_by_label("How many?").fill("7")
        row.get_by_label("How many?").press("Tab")
        expect(row.get_by_label("How many?")).to_have_value("2")
    buy(ana)
    expect(bruno.locator("#choice-message")).to_have_text("“Pista” sold out while you were choosing.")
    expect(bruno.locator("[data-stock]", has_text="Pista").locator("[data-left-words]")).to_have_text("Sold out")
    expect(bruno.locator("#buy")).to_be_disabled()


def test_a_declined_card_says_what_to_do(site: Site, window: Window) -> None:
    ana = window()
    open_session(ana, with_stock(site))
    buy(ana, "declined")
    expect(ana.locator("#order")).to_have_attribute("data-status", "FAILED")
    expect(ana.locator("#order-said")).to_contain_text("The payment was declined")
    ana.get_by_role("link", name="Choose again").click()
    buy(ana)
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")


def test_a_buyer_who_was_away_sees_the_outcome(site: Site, window: Window) -> None:
    ana = window()
    open_session(ana, with_stock(site))
    with nobody_allocates(site):
        buy(ana)
        expect(ana.get_by_role("heading", name="You are in the queue")).to_be_visible()
        ana.evaluate(
            "window.said = []; new MutationObserver(() => said.push(document.querySelector('#order-said').textContent))"
            ".observe(document.querySelector('#order-said'), { childList: true })"
        )
        ana.context.set_offline(True)
    ana.context.set_offline(False)
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED", timeout=15_000)
    said = ana.evaluate("said")
    assert len(said) == len(set(said)), said  # each change once
    assert said[-1].startswith("Your order is complete")


def test_a_reload_before_the_answer_buys_once(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("ERR_FAILED /api/v1/orders")
    ana = window()
    session = with_stock(site)
    open_session(ana, session)
    cut: list[str] = []

    def lose_the_answer(route: Route) -> None:
        """Lose the answer after the request reached the server."""
        cut.append(route.fetch().json()["id"])
        route.abort()

    ana.route("**/api/v1/orders", lose_the_answer, times=1)
    with ana.expect_event("requestfailed"):
        ana.locator("#buy").click()
    ana.reload()
    ana.wait_for_url("**/orders/*")
    assert ana.url.endswith(cut[0])
    ana.goto("/orders")
    expect(ana.locator("[data-order]")).to_have_count(1)


def lose_the_answer_of(page: Page) -> list[str]:
    """Press “Buy now” and lose the answer. Return the order's id, once it is there."""
    cut: list[str] = []

    def lose(route: Route) -> None:
        cut.append(route.fetch().json()["id"])
        route.abort()

    page.route("**/api/v1/orders", lose, times=1)
    with page.expect_event("requestfailed"):
        page.locator("#buy").click()
    return cut


def sign_in(page: Page, *, session: str, name: str = "ana") -> None:
    page.goto(f"/sign-in?next=/sessions/{session}")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("frontrow-demo")
    page.locator("main").get_by_role("button", name="Sign in").click()


def orders_sent_by(page: Page) -> list[str]:
    """Return keys of the orders that the page sends from now on."""
    sent: list[str] = []

    def note(asked: Request) -> None:
        if asked.method == "POST" and asked.url.endswith("/api/v1/orders"):
            sent.append(asked.headers["idempotency-key"])

    page.on("request", note)
    return sent


def test_a_page_shows_the_account_what_became_of_the_guests_order(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("ERR_FAILED /api/v1/orders")
    ana, session = window(), with_stock(site)
    open_session(ana, session)
    cut = lose_the_answer_of(ana)
    sent = orders_sent_by(ana)
    sign_in(ana, session=session)
    ana.wait_for_url("**/orders/*")
    assert ana.url.endswith(cut[0])
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")
    assert sent == []


def test_a_page_never_sends_an_order_for_another_buyer(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.update({"ERR_FAILED /api/v1/orders", "409 /api/v1/orders"})
    ana, session = window(), with_stock(site)
    sign_in(ana, session=session, name="bruno")
    open_session(ana, session)
    lose_the_answer_of(ana)
    sent = orders_sent_by(ana)
    ana.get_by_role("button", name="Sign out").click()
    open_session(ana, session)
    expect(ana.locator("#choice-message")).to_contain_text("we did not send the order again")
    assert sent == []
    ana.locator("#buy").click()  # the same wish: the server knows that another buyer sent it
    expect(ana.locator("#choice-message")).to_contain_text("Another person asked for this")
    buy(ana)
    expect(ana.locator("#order")).to_have_attribute("data-status", "COMPLETED")
    assert len(sent) == len(set(sent)) == 2


def test_without_scripts_the_page_waits_by_loading_itself_again(site: Site, window: Window) -> None:
    ana = window(java_script_enabled=False)
    ana.goto(f"/sessions/{with_stock(site)}")
    with nobody_allocates(site):
        ana.get_by_role("button", name="Buy now").click()
        expect(ana).to_have_url(re.compile("/orders/"))
        expect(ana.get_by_role("heading", name="You are in the queue")).to_be_visible()
    expect(ana.get_by_role("heading", name="Your tickets are ready")).to_be_visible()
    ana.get_by_role("link", name="See your tickets").click()
    expect(ana.locator(".ticket")).to_have_count(1)
