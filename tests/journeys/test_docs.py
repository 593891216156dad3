"""Use the API's own pages in a browser, under the site's content policy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.journeys.conftest import Site, Window

pytestmark = pytest.mark.journey


def operation(page: Page, name: str) -> Locator:
    """Return one operation's block, opened."""
    block = page.locator(f"[id$='-{name}']")
    if not re.search(r"\bis-open\b", block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    return block


def execute(page: Page, name: str) -> Locator:
    """Try an operation out, and return its answer's code."""
    block = operation(page, name)
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response .response-col_status")


def test_authorize_and_try_it_out_work(site: Site, window: Window, refusals: set[str]) -> None:
    refusals.add("401 /api/v1/reservations")
    elsewhere: list[str] = []
    page = window()
    page.on("request", lambda request: elsewhere.append(request.url) if site.host not in request.url else None)
    page.goto("/api/docs")
    expect(page.get_by_role("heading", name="Frontrow")).to_be_visible()

    expect(execute(page, "reservations_list")).to_have_text(re.compile("^401"))

    expect(execute(page, "auth_guest")).to_have_text(re.compile("^201"))
    answer = (
        operation(page, "auth_guest").locator(".live-responses-table .response .response-col_description").inner_text()
    )
    found = re.search(r'"access":\s*"([^"]+)"', answer)
    assert found

    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux .auth-container").filter(has_text="bearer")
    dialog.locator("input").first.fill(found[1])
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()

    expect(execute(page, "reservations_list")).to_have_text(re.compile("^200"))
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
