"""Check sales at a glance: the numbers add up, and cost a handful of queries."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from reservations.operations.inventory import block_seats
from sessions_app.models import Session
from tests import factories
from tests.conftest import Hold
from tests.factories import StockFactory
from tests.reservations.test_holding import run_out
from tests.ticketing.test_paying import pay
from ticketing.models import Sale
from ticketing.staff import charts, takings
from ticketing.staff.charts import Column

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def olivia() -> Client:
    """Sign in the owner of the house."""
    client = Client()
    owner = factories.UserFactory(is_staff=True, is_superuser=True)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def _an_evening(session: Session, hold: Hold, ana: uuid.UUID, bruno: uuid.UUID) -> None:
    """Prepare 16 seats and 5 places: 2 seats and 1 place sold, 1 seat held, 1 off sale, 1 with an expired hold."""
    stock = StockFactory.create(session=session, capacity=5)
    pay(hold(session, "A1", "A2", buyer=ana))
    pay(hold(session, buyer=ana, ticket_type=stock.pk, quantity=1))
    run_out(hold(session, "B1", buyer=bruno))
    hold(session, "B2", buyer=bruno)
    block_seats(session=session.pk, labels=["D4"])


def sell_at(session: Session, hold: Hold, label: str, moment: dt.datetime) -> None:
    pay(bought := hold(session, label, buyer=uuid.uuid4()))
    Sale.objects.filter(reservation=bought).update(sold_at=moment)


@pytest.mark.usefixtures("_an_evening")
class TestWhatPlays:
    def test_programme_counts_sold_held_and_free_and_what_was_paid(self, session: Session) -> None:
        (showing,) = takings.showings(timezone.localdate(session.starts_at), days=1)
        places = showing.places
        assert (places.sold, places.held, places.free) == (3, 1, 16 - 2 - 1 - 1 + 4)
        assert places.revenue == {"BRL": 2 * 2500 + 9000}

    def test_programme_leaves_out_other_days_and_what_was_called_off(self, session: Session) -> None:
        day = timezone.localdate(session.starts_at)
        assert takings.showings(day + dt.timedelta(days=1), days=7) == []
        assert takings.showings(day - dt.timedelta(days=7), days=7) == []
        Session.objects.update(cancelled_at=timezone.now())
        assert takings.showings(day, days=1) == []

    def test_programme_takes_off_what_was_paid_back(self, session: Session) -> None:
        Sale.objects.filter(total=9000).update(refunded=4000)
        (showing,) = takings.showings(timezone.localdate(session.starts_at), days=1)
        assert showing.places.revenue == {"BRL": 10_000}


class TestWhatWasSold:
    def test_sales_are_grouped_by_the_hours_of_the_house(self, session: Session, hold: Hold) -> None:
        zone = timezone.get_current_timezone()
        evening = dt.datetime(2026, 3, 1, 23, 40, tzinfo=zone)
        for label, moment in {
            "A1": evening,
            "A2": evening + dt.timedelta(minutes=10),
            "A3": evening + dt.timedelta(minutes=25),
        }.items():
            sell_at(session, hold, label, moment)
        hours = takings.sold_by_hour(dt.date(2026, 3, 2), days=2)
        assert [(hour.day, timezone.localtime(hour.start).hour, hour.tickets, hour.revenue) for hour in hours] == [
            (dt.date(2026, 3, 1), 23, 2, 5000),
            (dt.date(2026, 3, 2), 0, 1, 2500),
        ]
        assert takings.sold_by_hour(dt.date(2026, 2, 28), days=2) == []


class TestPage:
    @pytest.mark.usefixtures("_an_evening")
    def test_page_says_in_tables_what_it_draws(self, olivia: Client, session: Session) -> None:
        day = timezone.localdate(session.starts_at)
        page = olivia.get(reverse("glance"), {"plays": day.isoformat()}).content.decode()
        assert page.count('role="img"') == 4
        assert "<b>3</b> sold, <b>1</b> held, <b>16</b> free" in page
        assert "R$140.00" in page
        assert reverse("seat-desk", args=[session.pk]) in page

    @pytest.mark.usefixtures("_an_evening")
    def test_page_writes_numbers_as_the_reader_does(self, olivia: Client, session: Session) -> None:
        StockFactory.create(session=session, name="Campo", capacity=12_000)
        query = {"plays": timezone.localdate(session.starts_at).isoformat()}
        page = olivia.get(reverse("glance"), query, headers={"accept-language": "pt-br"}).content.decode()
        assert "R$\N{NO-BREAK SPACE}140,00" in page
        assert "12.016" in page
        assert "Vendas num relance" in page

    def test_page_tells_currencies_apart(self, olivia: Client, session: Session, hold: Hold) -> None:
        abroad = factories.SessionFactory.create(currency="EUR")
        for place in (session, abroad):
            pay(hold(place, "A1", buyer=uuid.uuid4()))
        page = olivia.get(reverse("glance")).content.decode()
        assert "Revenue by day in BRL" in page
        assert "Revenue by day in EUR" in page
        assert "R$25.00 · €25.00" in page

    def test_page_is_empty_before_the_first_sale(self, olivia: Client, db: None) -> None:
        page = olivia.get(reverse("glance")).content.decode()
        assert "There are no sessions on that day." in page
        assert "There were no sales on that day." in page

    @pytest.mark.parametrize("asked", ["yesterday", "2026-02-31", "", "9999-12-31", "0001-01-01"])
    def test_page_takes_what_it_cannot_read_for_today(self, olivia: Client, db: None, asked: str) -> None:
        assert olivia.get(reverse("glance"), {"plays": asked, "sold": asked}).status_code == 200

    def test_page_takes_as_many_queries_for_many_sessions(self, olivia: Client, session: Session, hold: Hold) -> None:
        day = {"plays": timezone.localdate(session.starts_at).isoformat()}

        def queries() -> int:
            with CaptureQueriesContext(connection) as seen:
                olivia.get(reverse("glance"), day)
            return len(seen)

        pay(hold(session, "A1", buyer=uuid.uuid4()))
        before = queries()
        for other in factories.SessionFactory.create_batch(6):
            pay(hold(other, "A1", buyer=uuid.uuid4()))
        assert queries() == before

    def test_page_is_for_who_may_see_money(self, db: None) -> None:
        client = Client()
        client.force_login(factories.UserFactory(is_staff=True), backend="django.contrib.auth.backends.ModelBackend")
        assert client.get(reverse("glance")).status_code == 403
        assert reverse("glance") not in client.get(reverse("admin:index")).content.decode()

    def test_page_is_in_the_menu(self, olivia: Client, db: None) -> None:
        assert reverse("glance") in olivia.get(reverse("admin:index")).content.decode()

    def test_page_draws_without_a_script_of_its_own(self, olivia: Client, db: None) -> None:
        answer = olivia.get(reverse("glance"))
        assert "https://" not in answer.headers["Content-Security-Policy"]
        assert "cdn" not in answer.content.decode()


class TestChart:
    @pytest.mark.parametrize(
        ("most", "step", "top"),
        [(0, 1, 1), (1, 1, 1), (4, 1, 4), (5, 2, 6), (17, 5, 20), (81, 50, 100), (199_999, 50_000, 200_000)],
    )
    def test_chart_has_few_lines_at_round_numbers(self, most: int, step: int, top: int) -> None:
        assert charts.scale(most) == (step, top)

    def test_chart_stacks_its_parts_on_the_floor(self) -> None:
        column = Column(parts=[("sold", 3), ("held", 0), ("free", 1)], says="3 of 4", label="Mon")
        chart = charts.draw("t", [column], name=str)
        sold, free = chart.bars
        assert (sold.part, free.part) == ("sold", "free")
        assert float(sold.y) + float(sold.height) == pytest.approx(chart.floor, abs=0.2)
        assert float(free.y) + float(free.height) == pytest.approx(float(sold.y), abs=0.2)
        assert [line.text for line in chart.lines] == ["1", "2", "3", "4"]
