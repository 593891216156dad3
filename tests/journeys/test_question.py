"""Call a session off at the box office, by keyboard, on a small phone, and only after the question."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Site, Window
from tests.journeys.test_live_map import sign_in
from tests.journeys.test_people import expect_no_sideways_scroll

pytestmark = pytest.mark.journey


def test_call_off_is_asked_and_answered_by_keyboard(site: Site, window: Window) -> None:
    session = site.new_session("The one nobody will see")
    site.hold(session, "A1", "A2", then_pay=True)
    beto = window(viewport={"width": 320, "height": 640})
    sign_in(beto)
    beto.goto("/admin/sessions_app/session/?q=The+one+nobody+will+see")
    beto.locator(f'[name="_selected_action"][value="{session}"]').check()
    beto.locator('select[name="action"]').select_option("call_off_and_refund")
    beto.locator('#changelist-form button[name="index"]').press("Enter")
    expect(beto.get_by_role("heading", name="Call the session off and give all money back?")).to_be_visible()
    expect(beto.locator("dd")).to_contain_text(["The one nobody", "1", "2", "R$60.00", "1 buyer left no address", "0"])
    expect_no_sideways_scroll(beto)
    no = beto.get_by_role("link", name="Change nothing")
    yes = beto.get_by_role("button", name="Call off and give the money back")
    yes.focus()
    beto.keyboard.press("Tab")
    expect(no).to_be_focused()
    yes.press("Enter")
    expect(beto.get_by_text("was called off. Its page shows how many sales were paid back.")).to_be_visible()
