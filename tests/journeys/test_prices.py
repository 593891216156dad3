"""Set concessions and a voucher for a hold, with a script and without, by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import choose, expect_tickets, hold, open_session, pay
from tests.journeys.test_looks import expect_accessible
from tests.processes import until

pytestmark = pytest.mark.journey

PRICES: dict[str, Any] = {
    "concessions": [
        {"name": "Student", "percent_off": 50, "note": "a student card"},
        {"name": "Child", "price": 1000},
    ],
    "booking_fee": 150,
    "tax_basis_points": 700,
    "hold_seconds": 120,
}
PHONE = {"viewport": {"width": 390, "height": 844}}


def test_concessions_and_a_voucher_change_the_total_and_that_is_said(
    site: Site, window: Window, refusals: set[str]
) -> None:
    refusals.add("400 /api/v1/reservations/*/price")
    ana = window(**PHONE)
    open_session(ana, site.new_session(**PRICES))
    choose(ana, "B3", "B4")
    hold(ana)
    expect(ana.locator('[data-part="total"]')).to_have_text("R$63.00")
    ana.locator('select[name="concession:B4"]').select_option(label="Student (50% off)")
    ana.get_by_label("Voucher").fill("no-such-code")
    ana.get_by_role("button", name="Update the price").press("Enter")
    expect(ana.locator("#voucher-error")).to_have_text("There is no such voucher.")
    expect(ana.get_by_label("Voucher")).to_be_focused()
    ana.get_by_label("Voucher").fill("")
    ana.get_by_label("Voucher").press("Enter")
    expect(ana.locator('[data-part="said"]')).to_have_text("New total: R$48.00")
    expect(ana.locator('[data-part="bill"]')).to_contain_text("Student")
    expect(ana.locator('[data-part="total"]')).to_have_text("R$48.00")
    expect_accessible(ana)
    ana.reload()
    expect(ana.locator('[data-part="bill"]')).to_contain_text("Student")
    pay(ana)
    expect_tickets(ana, 2)
    expect(ana.locator(".rows")).to_contain_text("Student")


def test_prices_without_a_script_are_a_form(site: Site, window: Window) -> None:
    bruno = window(java_script_enabled=False)
    bruno.goto(f"/sessions/{site.new_session(**PRICES)}")
    bruno.get_by_role("checkbox", name="Row B seat 3, free, R$30.00").check()
    bruno.get_by_role("button", name="Hold these places").click()
    chosen = bruno.locator('select[name="concession:B3"]')
    until(lambda: chosen.is_visible() or (bruno.reload() and False), what="the hold")
    chosen.select_option(label="Child (R$10.00)")
    bruno.get_by_role("button", name="Update the price").click()
    expect(bruno.locator('[data-part="total"]')).to_have_text("R$11.50")
    expect(bruno.locator('[data-part="bill"]')).to_contain_text("Row B seat 3 · Child")
