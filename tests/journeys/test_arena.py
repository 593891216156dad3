"""Show ten thousand seats: a picture of all, and elements for those in sight."""

from __future__ import annotations

import http.client
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import READY, expect_look, hold, open_session
from tests.journeys.test_looks import expect_accessible
from tests.journeys.test_people import PHONE
from tests.processes import until

pytestmark = pytest.mark.journey

SEATS = "[data-seat]"
UNPACK = """async () => {
  const { unpacked } = await import("/static/sessions_app/far-seats.js");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  return unpacked(read("plan-chairs"), read("session-data").types)
    .map(({ label, section, row, number, kind, type, status, x, y }) => [label, section, row, number, kind, type, status, x, y]);
}"""
# The picture's colour in the middle of a seat: red, green, blue, and opacity.
PIXEL = """label => {
  const [canvas, svg] = ["canvas.plan-far", "svg.plan"].map((name) => document.querySelector(name));
  const seat = document.querySelector(`[data-seat="${label}"]`);
  const { x: left, width } = svg.viewBox.baseVal, { y: top } = svg.viewBox.baseVal;
  const at = (place, start) => (Number(place) - start + 10) * (canvas.width / width);
  return [...canvas.getContext("2d").getImageData(at(seat.getAttribute("x"), left), at(seat.getAttribute("y"), top), 1, 1).data];
}"""


@pytest.fixture(scope="module")
def arena(site: Site) -> str:
    return site.new_session(hall=site.hall(10_000), rows=None, seats_per_row=None, room=None)


def open_on_a_phone(window: Window, arena: str) -> Page:
    page = window(**PHONE)
    open_session(page, arena)
    return page


def test_the_arenas_page_is_small_and_says_all_the_api_says(site: Site, window: Window, arena: str) -> None:
    with closing(http.client.HTTPConnection(site.host, timeout=20)) as connection:
        connection.request("GET", f"/sessions/{arena}", headers={"Accept-Encoding": "gzip"})
        assert len(connection.getresponse().read()) <= 120_000

    page = open_on_a_phone(window, arena)
    packed = page.evaluate(UNPACK)
    seats = site.call("GET", f"/sessions/{arena}/seats")["seats"]
    names = ("label", "section", "row", "number", "kind", "ticket_type", "status")
    assert [seat[:7] for seat in packed] == [
        [str(seat[name]) if name != "status" else seat[name][0] for name in names] for seat in seats
    ]
    assert all(
        abs(x - seat["x"] * 24) <= 1 and abs(y - seat["y"] * 24) <= 1
        for (*_names, x, y), seat in zip(packed, seats, strict=True)
    )


def test_seats_of_the_arena_are_chosen_after_zooming_in(window: Window, arena: str) -> None:
    page = open_on_a_phone(window, arena)
    expect(page.locator(SEATS)).to_have_count(1)
    expect_accessible(page)

    page.locator(".plan-pane").click(position={"x": 130, "y": 120})
    expect(page.locator(SEATS).nth(100)).to_be_attached()
    assert page.locator(SEATS).count() < 3_000
    page.locator("[data-zoom-out]").click(click_count=5)
    expect(page.locator(SEATS)).to_have_count(1)


def test_the_arena_is_usable_by_keyboard_and_follows_other_buyers(site: Site, window: Window, arena: str) -> None:
    page = open_on_a_phone(window, arena)
    page.locator(f"{SEATS}[tabindex='0']").focus()
    first = page.evaluate("document.activeElement.dataset.seat")
    before = page.evaluate(PIXEL, first)
    site.hold(arena, first)
    expect_look(page, first, "h")
    until(lambda: page.evaluate(PIXEL, first) != before, what="the picture showing it")

    page.keyboard.press("End")
    last = page.evaluate("document.activeElement.dataset.seat")
    assert last != first
    page.keyboard.press("Enter")
    expect_look(page, last, "chosen")
    page.locator("[data-zoom-out]").click(click_count=5)
    hold(page)
    expect_look(page, last, "mine")
    page.reload()
    page.wait_for_selector(READY)
    expect_look(page, last, "mine")
