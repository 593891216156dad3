"""Sell tickets at the counter."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Site, Window
from tests.journeys.steps import READY, choose, expect_look, expect_tickets
from tests.journeys.test_gate import sign_in
from tests.journeys.test_looks import expect_accessible

pytestmark = pytest.mark.journey


def test_the_box_office_sells_for_cash_and_for_a_card(site: Site, window: Window) -> None:
    session = site.new_session("A Última Sessão")
    site.hold(session, "B1", then_pay=True)
    beto = window()
    sign_in(beto, "boxoffice", onward="/counter")
    expect_accessible(beto)
    beto.locator(f'a[href="/counter/{session}"]').click()
    beto.wait_for_selector(READY)
    choose(beto, "C3", "C4")
    expect(beto.get_by_label("Seats", exact=True)).to_have_value("C3, C4")
    expect(beto.locator("#total")).to_have_text("R$60.00")
    expect_accessible(beto)
    beto.locator("#counter-seats").get_by_role("button", name="Hold for the customer").click()
    expect(beto.locator(".counter-total")).to_have_text("R$60.00")
    beto.get_by_label("by card, on the terminal").check()
    beto.get_by_role("button", name="The customer has paid: sell").click()
    expect(beto.get_by_text("This is not a transaction number.")).to_be_visible()
    expect_accessible(beto)
    beto.get_by_label("Transaction number of the terminal").fill("NSU-004211")
    beto.get_by_role("button", name="The customer has paid: sell").click()
    expect_tickets(beto, 2)
    expect(beto.get_by_text("Card at the counter")).to_be_visible()
    expect_accessible(beto)

    beto.get_by_role("link", name="Next customer").click()
    beto.wait_for_selector(READY)
    expect_look(beto, "C3", "s")
    beto.get_by_label("Seats", exact=True).fill("d1 b1")
    beto.get_by_label("Seats", exact=True).press("Tab")
    expect_look(beto, "D1", "chosen")
    beto.locator("#counter-seats").get_by_role("button", name="Hold for the customer").click()
    expect(beto.locator(".notice")).to_contain_text("B1")
    beto.get_by_role("button", name="Hold the best").click()
    beto.get_by_role("button", name="The customer has paid: sell").click()
    expect_tickets(beto, 2)
    expect(beto.get_by_text("Cash", exact=True)).to_be_visible()
