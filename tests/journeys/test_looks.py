"""Check every page for accessibility: WCAG, no sideways scrolling, and no jumping parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.template.loader import render_to_string
from playwright.sync_api import Page, Route, expect

from tests.journeys.conftest import DESK, Site, Window
from tests.journeys.steps import READY, choose, expect_tickets, hold, open_session, pay
from tests.journeys.test_live_map import open_desk, sign_in
from tests.journeys.test_orders import buy
from tests.journeys.test_people import PHONE, expect_no_sideways_scroll

pytestmark = pytest.mark.journey

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = ["color-contrast"]
LOOKS = (  # each screen and each scheme by every rule; their other pairs by the rule that sees both
    (PHONE["viewport"], "light", WCAG),
    (PHONE["viewport"], "dark", CONTRAST),
    (DESK["viewport"], "light", CONTRAST),
    (DESK["viewport"], "dark", WCAG),
)
AXE = Axe()


def expect_accessible(page: Page) -> None:
    """Expect that axe-core finds nothing."""
    page.evaluate(AXE.axe_script)
    found: list[str] = []
    for size, scheme, rules in LOOKS:
        page.set_viewport_size(size)  # type: ignore[arg-type] # width and height
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] # one of the schemes
        expect_no_sideways_scroll(page)
        found += [f"{size} {scheme} {violation}" for violation in violations(page, rules)]
    assert found == [], "\n".join([page.url, *found])


def violations(page: Page, rules: list[str]) -> Iterator[str]:
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    for broken in page.evaluate("options => axe.run(options)", options)["violations"]:
        for node in broken["nodes"][:3]:
            yield f"{broken['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"


def test_pages_of_buyers_are_accessible(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("404 /nowhere")
    session = site.new_session(hold_seconds=300)
    site.hold(session, "A1")
    site.hold(session, "A2", then_pay=True)
    ana = window()
    for address in ("/", "/?q=xyzzy", "/my-tickets", "/orders", "/sign-in", "/register", "/nowhere"):
        ana.goto(address)
        expect_accessible(ana)
    for address in ("/sign-in", "/register"):
        ana.goto(address)
        ana.locator("main form").evaluate("form => { form.noValidate = true; form.requestSubmit(); }")
        expect(ana.locator(".errorlist").first).to_be_visible()
        expect_accessible(ana)

    open_session(ana, session)
    choose(ana, "B3", "B4")
    expect_accessible(ana)
    hold(ana)
    expect_accessible(ana)
    ana.goto("/my-tickets")
    expect_accessible(ana)
    ana.locator(".purchase").click()
    ana.wait_for_selector(READY)
    expect(ana.locator("[data-seconds]")).not_to_be_empty()
    expect_accessible(ana)
    pay(ana)
    expect_tickets(ana, 2)
    expect_accessible(ana)
    ana.get_by_role("link", name="Only this ticket").first.click()
    expect_accessible(ana)
    ana.goto("/my-tickets")
    expect_accessible(ana)


def test_pages_of_orders_are_accessible(site: Site, window: Window) -> None:
    session = site.new_session(rows=None, seats_per_row=None, ticket_types=[PISTA])
    ana = window()
    for token, status in (("declined", "FAILED"), ("ok", "COMPLETED")):
        open_session(ana, session)
        expect_accessible(ana)
        buy(ana, token)
        expect(ana.locator("#order")).to_have_attribute("data-status", status)
        expect_accessible(ana)
    bought = ana.locator("#order").get_attribute("data-order")
    ana.goto("/orders")
    expect_accessible(ana)
    beto = window()
    sign_in(beto, "boxoffice")
    beto.goto(f"/admin/ticketing/order/{bought}/change/")
    expect(beto.locator(".timeline")).to_contain_text("Money taken")
    expect_accessible(beto)
    beto.locator('button[value="cancel"]').click()
    expect_accessible(beto)


PISTA = {"name": "Pista", "price": 12000, "capacity": 3}


def test_pages_of_errors_are_accessible(window: Window) -> None:
    ana = window()
    ana.route(re.compile("/[45][0-9]{2}$"), show_error)
    for status in (400, 403, 429, 500, 503):
        ana.goto(f"/{status}")
        expect_accessible(ana)


def show_error(route: Route) -> None:
    page = render_to_string(f"{route.request.url[-3:]}.html")
    route.fulfill(body=page, content_type="text/html")


def test_pages_of_the_box_office_are_accessible(site: Site, window: Window) -> None:
    session = site.new_session(hold_seconds=300)
    site.hold(session, "A1")
    site.hold(session, "A2", then_pay=True)
    beto = window()
    sign_in(beto, "owner")
    open_desk(beto, session)
    choose(beto, "A1")
    expect(beto.locator("#of-chosen")).to_contain_text("held")
    expect_accessible(beto)
    for address in ("/admin/glance", "/admin/money", "/gate", f"/gate/{session}"):
        beto.goto(address)
        expect_accessible(beto)
    beto.goto("/admin/sessions_app/hall/from-plan/")
    beto.locator("[name=venue]").select_option(index=1)
    beto.locator("[name=name]").fill("Sala 9")
    beto.locator("[name=text]").fill("aa_aa\n\naa_wc")
    beto.get_by_role("button", name="Preview").click()
    expect(beto.locator(".plan-pane")).to_be_visible()
    expect_accessible(beto)


@pytest.mark.parametrize("screen", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_jumps_while_a_page_loads(site: Site, window: Window, screen: dict[str, Any]) -> None:
    ana = window(**screen)
    for address in ("/", "/sign-in", "/register", "/my-tickets", "/orders"):
        ana.goto(address)
        expect_calm(ana)
    open_session(ana, site.new_session(rows=None, seats_per_row=None, ticket_types=[PISTA]))
    expect_calm(ana)
    far = datetime.now(UTC) + timedelta(days=80 if screen is PHONE else 81)
    hall: dict[str, Any] = {"hall": site.hall(seats=240), "room": None, "rows": None, "seats_per_row": None}
    open_session(ana, site.new_session(**hall, starts_at=far.isoformat()))
    expect_calm(ana)
    choose(ana, "F7")
    hold(ana)
    ana.goto("/my-tickets")
    ana.locator(".purchase").click()
    expect(ana.locator("[data-seconds]")).not_to_be_empty()
    expect_calm(ana)
    pay(ana)
    expect_tickets(ana, 1)
    expect_calm(ana)


def expect_calm(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    assert page.evaluate("jumps") < 0.01, page.url
