"""Take the steps of people on the pages."""

from __future__ import annotations

import re
from typing import Literal

from playwright.sync_api import Locator, Page, expect

Look = Literal["f", "h", "s", "b", "chosen", "mine", "lost"]

READY = "html[data-ready]"


def open_session(page: Page, session: str) -> None:
    """Open the session's page, and wait until its socket is live."""
    page.goto(f"/sessions/{session}")
    page.wait_for_selector(READY)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def seat(page: Page, label: str) -> Locator:
    return page.locator(f'[data-seat="{label}"]')


def expect_look(page: Page, label: str, look: Look, *, within: float = 5_000) -> None:
    """Expect a seat to look so `within` milliseconds."""
    expect(seat(page, label)).to_have_attribute("data-look", look, timeout=within)


def choose(page: Page, *labels: str) -> None:
    for label in labels:
        seat(page, label).click()
        expect_look(page, label, "chosen")


def hold(page: Page) -> None:
    """Press the button, and expect the countdown."""
    page.locator("#hold").click()
    expect(page.locator("#hold-panel")).to_have_attribute("data-status", "held")


def seconds_left(page: Page) -> int:
    number = page.locator("[data-seconds]")
    expect(number).to_have_text(re.compile(r"\d"))
    return int(number.inner_text())


def pay(page: Page, token: str = "ok") -> None:
    page.locator(f'#payment input[value="{token}"]').check()
    page.locator('#payment [type="submit"]').click()


def expect_tickets(page: Page, count: int) -> None:
    """Expect the sale's page with a readable QR code on each ticket."""
    page.wait_for_url("**/sales/*")
    expect(page.locator(".ticket")).to_have_count(count)
    codes = page.locator(".ticket-stub img")
    expect(codes).to_have_count(count)
    page.wait_for_function(
        "[...document.querySelectorAll('.ticket-stub img')].every((code) => code.complete && code.naturalWidth > 0)"
    )
