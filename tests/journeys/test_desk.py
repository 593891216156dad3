"""Work in the admin as the staff of a house."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Site, Window
from tests.journeys.test_people import PHONE

pytestmark = pytest.mark.journey

DRAWING = "[Plateia]\nwcaa_aaaaaaaa_aacw\naaaa_aaaaaaaa_aaaa\n\naaaa_aallllaa_aaaa\n[Balcão]\n__aaaaaaaaaaaaaa__"


def sign_in(page: Page, name: str) -> None:
    page.goto("/admin/")
    page.locator("#id_username").fill(name)
    page.locator("#id_password").fill("frontrow-demo")
    page.locator("#id_password").press("Enter")
    page.wait_for_url(re.compile(r"/admin/$"))


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_box_office_draws_a_hall(site: Site, window: Window, tmp_path: Path, options: dict[str, object]) -> None:
    beto, name = window(**options), f"Sala {uuid.uuid4().hex[:6]}"
    file = tmp_path / "plan.txt"
    file.write_text(DRAWING)
    sign_in(beto, "boxoffice")
    beto.goto("/admin/sessions_app/hall/from-plan/")
    beto.locator("#id_venue").select_option(label="Multiplex Orla")
    beto.locator("#id_name").fill(name)
    beto.locator("#id_file").set_input_files(file)
    beto.get_by_role("button", name="Preview").click()
    expect(beto.locator("svg [data-seat]")).to_have_count(16 * 3 + 14)
    expect(beto.locator("svg [data-seat=A1]")).to_have_attribute("href", re.compile(r"#seat-wheelchair-\d+"))
    assert not beto.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    beto.get_by_role("button", name="Save").click()
    expect(beto.get_by_text("were replaced")).to_be_visible()
    assert [hall["seats"] for hall in site.halls() if hall["name"] == name] == [16 * 3 + 14]
