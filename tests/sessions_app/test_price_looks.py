"""The map, its legend, the seats as boxes and the script's data show each price alike, on every page with a map."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sessions_app.models import Seat, Session, TicketType
from sessions_app.new_prices import MAX_TICKET_TYPES
from sessions_app.operations import NewSession, create_session, furnish
from sessions_app.plans import Block, joined
from tests import factories

pytestmark = pytest.mark.django_db
SECTIONS = ["Stalls", "Dress circle", "Balcony", "Gallery", "Slips", "Boxes"]
USE = re.compile(r'<use href="#seat-free-(\d+)"[^>]*?data-tier="(\d+)"[^>]*?aria-label="[^"]*, free, ([^"]*?) R\$')
LEGEND = re.compile(
    r'<li><svg[^>]*><use href="#seat-free-(\d+)" data-look="f" data-tier="(\d+)"/></svg><span>(.*?) <strong>'
)
BOX = re.compile(
    r'aria-label="[^"]*, free, ([^"]*?) R\$[^"]*"[^>]*>'
    r'<svg[^>]*><use href="#seat-free-(\d+)" data-look="f" data-tier="(\d+)"'
)


@pytest.fixture
def session() -> Session:
    """Put on six prices with seats; one without, and unnumbered places, stand before and among them."""
    made: Session = factories.SessionFactory.create(seats=(6, 2))
    made.ticket_types.update(name="Of an empty section")
    factories.StockFactory.create(session=made, name="Floor")
    for row, name in zip("ABCDEF", SECTIONS, strict=True):
        kind = TicketType.objects.create(session=made, name=name, price=3000)
        Seat.objects.filter(session=made, row=row).update(ticket_type=kind)
    return made


@pytest.mark.parametrize("page", ["session", "counter", "seat-desk"])
def test_each_price_looks_the_same_everywhere(client: Client, session: Session, page: str) -> None:
    client.force_login(factories.UserFactory.create(is_staff=True, is_superuser=True))
    text = client.get(reverse(page, args=[session.pk]), {"plain": "1"}).content.decode()
    expected = {name: (str(look), str(look)) for look, name in enumerate(SECTIONS)}
    assert {name: (shape, tier) for shape, tier, name in USE.findall(text)} == expected
    assert {name: (shape, tier) for shape, tier, name in LEGEND.findall(text)} == expected
    if page == "session":
        assert {name: (shape, tier) for name, shape, tier in BOX.findall(text)} == expected
    data = json.loads(re.findall(r'id="session-data"[^>]*>(.*?)</script>', text)[0])
    assert {kind["name"]: kind["look"] for kind in data["types"]} == {
        "Of an empty section": None, "Floor": None, **{name: look for look, name in enumerate(SECTIONS)},
    }  # fmt: skip
    for look in range(len(SECTIONS)):
        assert f'[data-tier="{look}"] {{ --tier: #' in text
        assert f'id="seat-free-{look}"' in text


def test_session_has_a_look_for_each_of_the_most_prices(client: Client) -> None:
    """Each section but the last has its own price; the last costs what all other seats do."""
    sections = [f"Section {number}" for number in range(MAX_TICKET_TYPES + 1)]
    hall = factories.HallFactory.create()
    furnish(
        hall=hall, places=joined(*(Block(rows=[1], section=name, prefix=f"{at}-") for at, name in enumerate(sections)))
    )
    wish = NewSession(show="Maré", hall=hall.pk, starts_at=timezone.now() + dt.timedelta(days=1), price=3000)
    wish["prices"] = dict.fromkeys(sections, 2000)
    with pytest.raises(ValidationError) as refused:
        create_session(**wish)
    assert refused.value.message_dict == {
        "prices": ["There can be at most 50 ticket types, not 51. Each section with its own price counts as one."]
    }
    wish["prices"] = dict.fromkeys(sections[:-1], 2000)
    made = create_session(**wish)
    text = client.get(reverse("session", args=[made.pk])).content.decode()
    drawn, named = USE.findall(text), LEGEND.findall(text)
    assert (
        sorted(named)
        == sorted(drawn)
        == sorted((str(look), str(look), name) for look, name in enumerate(["Standard", *sections[:-1]]))
    )
    shapes = re.findall(r'<g id="seat-(?:mark|under)-(\d+)">(.*?)</g>', text)
    assert len({tuple(shape for look, shape in shapes if look == number) for number, _shape in shapes}) == len(sections)


def test_page_without_a_map_may_have_the_looks(client: Client) -> None:
    """Its style has the nonce, though nothing before it asked for one."""
    stock = factories.StockFactory.create()
    Seat.objects.all().delete()
    answer = client.get(reverse("session", args=[stock.session_id]), {"plain": "1"})
    nonces = re.findall(r'<style nonce="([^"]+)"', answer.content.decode())
    assert nonces
    assert all(f"'nonce-{nonce}'" in answer["Content-Security-Policy"] for nonce in nonces)
