from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re

import pytest
from django.test import Client
from django.utils import timezone

from sessions_app.models import Seat, Session
from tests import factories

pytestmark = pytest.mark.django_db


def tonight_and(days: int) -> dt.datetime:
    """Return eight in the evening, some days from now."""
    return timezone.localtime().replace(hour=20, minute=0) + dt.timedelta(days=days)


def showing(title: str, *, days: int = 1, **fields: object) -> Session:
    made: Session = factories.SessionFactory(show__title=title, starts_at=tonight_and(days), **fields)
    return made


class TestWhatsOn:
    def test_shows_the_first_day_with_a_session(self, client: Client) -> None:
        showing("Amanhã", days=1)
        showing("Depois", days=2)
        page = client.get("/").content.decode()
        assert "Amanhã" in page
        assert "Depois" not in page

    def test_shows_the_day_that_was_asked_for(self, client: Client) -> None:
        showing("Amanhã", days=1)
        showing("Depois", days=2)
        day = timezone.localdate() + dt.timedelta(days=2)
        page = client.get("/", {"day": day.isoformat()}).content.decode()
        assert "Depois" in page
        assert "Amanhã" not in page

    def test_finds_a_title_on_every_day(self, client: Client) -> None:
        showing("A Última Sessão", days=1)
        showing("Última Chamada", days=3)
        showing("Outro Filme", days=1)
        page = client.get("/", {"q": "última"}).content.decode()
        assert "A Última Sessão" in page
        assert "Última Chamada" in page
        assert "Outro Filme" not in page

    def test_keeps_to_the_venue_that_was_asked_for(self, client: Client) -> None:
        here, there = factories.HallFactory(), factories.HallFactory()
        showing("Aqui", hall=here)
        showing("Lá", hall=there)
        page = client.get("/", {"venue": str(here.venue_id)}).content.decode()
        assert "Aqui" in page
        assert "<h3>Lá</h3>" not in page

    @pytest.mark.parametrize("query", [{"day": "2026-99-99"}, {"venue": "x"}, {"q": "\0"}, {"day": "", "q": "%"}])
    def test_ignores_an_invalid_search(self, client: Client, query: dict[str, str]) -> None:
        assert client.get("/", query).status_code == 200

    def test_says_when_nothing_is_on(self, client: Client) -> None:
        assert "Nothing is on sale at the moment" in client.get("/").content.decode()
        assert "Nothing matches" in client.get("/", {"q": "x"}).content.decode()

    def test_shows_places_left_and_prices(self, client: Client) -> None:
        showing("Quase Cheio", seats=(2, 6))
        full = showing("Cheio")
        Seat.objects.filter(session=full).update(status="b")
        page = client.get("/").content.decode()
        assert "from R$25.00" in page
        assert "Sold out" in page

    def test_counts_the_last_seats(self, client: Client) -> None:
        few = showing("Quase")
        Seat.objects.filter(session=few).exclude(label="A1").update(status="b")
        assert "1 seat left" in client.get("/").content.decode()

    def test_speaks_the_readers_language(self, client: Client) -> None:
        showing("Noite")
        page = client.get("/", headers={"accept-language": "pt-BR,en;q=0.5"}).content.decode()
        assert '<html lang="pt-br">' in page
        assert "desde R$\N{NO-BREAK SPACE}25,00" in page
        assert "20:00" in page

    def test_sends_the_same_number_of_queries_for_any_number_of_sessions(
        self, client: Client, django_assert_max_num_queries: pytest.FixtureRequest
    ) -> None:
        for number in range(6):
            showing(f"Filme {number}", hall=factories.HallFactory())
        with django_assert_max_num_queries(5):  # type: ignore[operator] # pytest-django ships no type for it
            client.get("/")


class TestSession:
    def test_draws_every_seat_with_a_name_and_a_price(self, client: Client) -> None:
        session = showing("Noite")
        page = client.get(f"/sessions/{session.pk}").content.decode()
        assert page.count('role="gridcell"') == 16
        assert 'aria-label="Row B seat 3, free, R$25.00"' in page

    def test_has_one_stop_for_each_row_of_the_plan(self, client: Client) -> None:
        page = client.get(f"/sessions/{showing('Noite').pk}").content.decode()
        assert re.findall(r'<g role="row" data-row="(\w)"', page) == ["A", "B", "C", "D"]

    def test_gives_its_script_the_data(self, client: Client) -> None:
        session = showing("Noite")
        page = client.get(f"/sessions/{session.pk}").content.decode()
        # A missing match fails the test as it should.
        data = json.loads(re.search(r'id="session-data"[^>]*>(.*?)</script>', page)[1])  # type: ignore[index]
        assert data["id"] == str(session.pk)
        assert data["version"] == 0
        assert [kind["price"] for kind in data["types"]] == [{"amount": 2500, "currency": "BRL"}]

    def test_page_of_one_visitor_makes_it_a_guest(self, client: Client) -> None:
        client.get(f"/sessions/{showing('Noite').pk}", {"plain": "1"})
        assert client.cookies["buyer"]["httponly"]

    def test_page_for_every_visitor_leads_a_browser_without_scripts_to_one_of_its_own(self, client: Client) -> None:
        session = showing("Noite")
        page = client.get(f"/sessions/{session.pk}").content.decode()
        assert '<noscript><meta http-equiv="refresh" content="0; url=?plain=1"></noscript>' in page
        assert 'name="seats"' not in page
        own = client.get(f"/sessions/{session.pk}", {"plain": "1"}).content.decode()
        assert 'http-equiv="refresh"' not in own
        assert 'name="seats"' in own

    def test_page_for_every_visitor_has_styles_that_its_policy_knows(self, client: Client) -> None:
        answer = client.get(f"/sessions/{showing('Noite').pk}")
        styles = re.findall(rb"<style>(.*?)</style>", answer.content, re.DOTALL)
        assert len(styles) == 2
        for style in styles:
            known = base64.b64encode(hashlib.sha256(style).digest()).decode()
            assert f"'sha256-{known}'" in answer["Content-Security-Policy"]
        assert "nonce" not in answer["Content-Security-Policy"]

    def test_offers_stock_by_the_number(self, client: Client) -> None:
        stock = factories.StockFactory(session=showing("Show"))
        page = client.get(f"/sessions/{stock.session_id}").content.decode()
        assert f'data-stock="{stock.pk}" data-available="5"' in page

    def test_shows_the_fee_of_a_place_that_is_bought_in_one_step(self, client: Client) -> None:
        session = showing("Show", booking_fee=150, booking_fee_basis_points=1_000)
        factories.StockFactory(session=session, price=9_000, holds=False)
        page = client.get(f"/sessions/{session.pk}").content.decode()
        assert "+ R$10.50 booking fee" in page
        assert "data-no-hold" in page
        assert "Hold first, pay later</button></noscript>" not in page

    def test_shows_sale_times_and_limits_of_a_ticket_type(self, client: Client) -> None:
        session = showing("Show")
        hour, now = dt.timedelta(hours=1), timezone.now()
        factories.StockFactory(session=session, name="Meia", sells_from=now + hour)
        factories.StockFactory(session=session, name="Lote 1", sells_until=now - hour)
        factories.StockFactory(session=session, name="Lote 2", sells_until=now + hour, max_per_order=2)
        page = " ".join(client.get(f"/sessions/{session.pk}").content.decode().split())
        early, over, open_now = re.findall(r"<li data-stock=.*?</li>", page)
        assert "On sale from" in early and "disabled" in early  # noqa: PT018 of each line
        assert "Was on sale until" in over and "disabled" in over  # noqa: PT018
        assert "On sale until" in open_now and 'max="2"' in open_now and "at most 2" in open_now  # noqa: PT018

    def test_says_when_selling_opens(self, client: Client) -> None:
        later = showing("Estreia", on_sale_at=timezone.now() + dt.timedelta(hours=3))
        assert 'id="not-open"' in client.get(f"/sessions/{later.pk}").content.decode()

    def test_says_that_it_was_cancelled(self, client: Client) -> None:
        gone = showing("Não", cancelled_at=timezone.now())
        assert "This session was called off." in client.get(f"/sessions/{gone.pk}").content.decode()

    def test_hides_nothing_of_a_title_in_markup(self, client: Client) -> None:
        session = showing("<script>alert(1)</script>")
        page = client.get(f"/sessions/{session.pk}").content.decode()
        assert "<script>alert" not in page

    def test_is_not_found_under_an_unknown_id(self, client: Client) -> None:
        answer = client.get("/sessions/01900000-0000-7000-8000-000000000000")
        assert answer.status_code == 404
        assert "There is nothing here" in answer.content.decode()

    def test_allows_no_inline_style(self, client: Client) -> None:
        answer = client.get(f"/sessions/{showing('Noite').pk}", {"plain": "1"})
        assert "style=" not in answer.content.decode()
        nonce = re.search(r'<style nonce="([^"]+)"', answer.content.decode())
        assert nonce is not None
        assert f"'nonce-{nonce[1]}'" in answer["Content-Security-Policy"]
