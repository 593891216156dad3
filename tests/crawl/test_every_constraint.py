"""Violate every constraint that a form of the admin can violate: the page explains it beside the field."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.contrib.messages import get_messages
from django.db import DataError, IntegrityError, transaction
from django.db.models import F, Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from base.admin_forms import GONE, Desk, Sentence, WholeRowForm
from reservations.models import Voucher
from reservations.staff.sentences import SENTENCES as OF_VOUCHERS
from sessions_app.models import Concession, Hall, HallSeat, Lane, Pool, Session, Show, TicketType
from sessions_app.operations import furnish
from sessions_app.plans import grid
from sessions_app.staff.sentences import SENTENCES as OF_THE_CATALOGUE
from tests import factories
from tests.support.pages import Form, body_of, forms_in, window_of
from tests.support.rehearsal import rehearsed
from ticketing.models import User
from ticketing.people.roles import ensure_groups

pytestmark = pytest.mark.django_db

SENTENCES: dict[str, Sentence] = {**OF_THE_CATALOGUE, **OF_VOUCHERS}
NO_SUCH_DATE = "Must be a date between 2000 and 2200."
FILLED_IN: list[type[Model]] = [Hall, HallSeat, Session, Lane, Pool, TicketType, Concession, Voucher]


@dataclass(frozen=True)
class Edit:
    """Describe an everyday edit that is impossible. `says` is the constraint's sentence; empty means Django's.

    `instead_of` names the constraint that would speak if Django's field did not.
    """

    row: Any
    changes: Mapping[str, str]
    field: str
    says: str = ""
    instead_of: str = ""


@pytest.fixture
def shop(db: None, settings: LazySettings) -> dict[str, Any]:
    """Provide a row of each kind, beside another one whose name it cannot have."""
    settings.RATE_LIMITS = settings.AXES_ENABLED = False
    venue = factories.VenueFactory.create(name="Cine Belas Artes")
    halls = [factories.HallFactory.create(venue=venue, name=name) for name in ("Sala 1", "Sala 2")]
    furnish(hall=halls[0], places=grid(rows=1, seats_per_row=2))
    starts = at(9, 20)
    session = factories.SessionFactory.create(hall=halls[0], starts_at=starts, seats=(1, 2))
    factories.SessionFactory.create(hall=halls[0], starts_at=at(12, 20), seats=(1, 2))
    factories.ConcessionFactory.create(session=session, name="Child")
    for name in ("Members", "Press"):
        Lane.objects.create(session=session, name=name, code=name.lower())
    factories.UserFactory.create(username="owner", is_staff=True, is_superuser=True)
    return {
        "venue": factories.VenueFactory.create(name="Cine Sesc"),
        "hall": halls[1],
        "seat": halls[0].seats.get(label="A2"),
        "session": session,
        "seats": session.ticket_types.get(name="Standard"),
        "stock": factories.StockFactory.create(session=session, name="Pista"),
        "pool": [factories.PoolFactory.create(session=session, name=name) for name in ("Day", "Night")][1],
        "voucher": [factories.VoucherFactory.create(code=code) for code in ("SPRING", "AUTUMN")][1],
        "user": factories.UserFactory.create(username="bruno"),
        "group": ensure_groups()["gate"],
    }


def at(days: int, hour: int) -> dt.datetime:
    there = timezone.localtime() + dt.timedelta(days=days)
    return there.replace(hour=hour, minute=0, second=0, microsecond=0)


def times(**moments: dt.datetime) -> dict[str, str]:
    """Write times as the admin's form has them: a date and a time each."""
    days = {f"{name}_0": f"{moment:%Y-%m-%d}" for name, moment in moments.items()}
    return days | {f"{name}_1": f"{moment:%H:%M:%S}" for name, moment in moments.items()}


def edits(shop: Mapping[str, Any]) -> list[Edit]:
    session, stock, voucher = shop["session"], shop["stock"], shop["voucher"]
    another_lane = {"lanes-TOTAL_FORMS": "3", "lanes-2-weight": "1", "lanes-2-name": "Crew", "lanes-2-code": "crew"}
    another_concession = {"concessions-TOTAL_FORMS": "2", "concessions-1-name": "Senior", "concessions-1-position": "2"}
    return [
        Edit(shop["venue"], {"name": "Cine Belas Artes"}, "name"),
        Edit(shop["hall"], {"name": "Sala 1"}, "name", "hall_name_once_a_venue"),
        Edit(shop["seat"], {"label": "A1"}, "label", "hall_seat_label_once_a_hall"),
        Edit(session, times(ends_at=at(9, 19)), "ends_at", "session_ends_after_it_starts"),
        Edit(session, times(on_sale_at=at(9, 21)), "on_sale_at", "session_goes_on_sale_before_it_starts"),
        Edit(
            session,
            {"hold_seconds": "100", "max_hold_seconds": "50"},
            "max_hold_seconds",
            "session_longest_hold_covers_a_hold",
        ),
        Edit(session, times(starts_at=at(12, 21), ends_at=at(12, 23)), "starts_at", "session_hall_hosts_one_at_a_time"),
        Edit(session, times(starts_at=at(-2000, 20), ends_at=at(-2000, 22)), "starts_at", "That time has passed."),
        Edit(session, times(ends_at=at(10, 22)), "ends_at", "A session may last 24 hours at most."),
        Edit(session, {"on_sale_at_0": "0001-01-01", "on_sale_at_1": "00:00"}, "on_sale_at", NO_SUCH_DATE),
        Edit(voucher, {"valid_until_0": "9999-12-31", "valid_until_1": "23:59"}, "valid_until", NO_SUCH_DATE),
        Edit(session, {"max_per_buyer": "0"}, "max_per_buyer", instead_of="session_sells_at_least_one_a_buyer"),
        Edit(session, {"booking_fee": "2000000"}, "booking_fee", instead_of="session_fees_and_tax_are_bounded"),
        Edit(session, {"tax_basis_points": "10001"}, "tax_basis_points", instead_of="session_fees_and_tax_are_bounded"),
        Edit(
            session,
            {"admission_rate": "0"},
            "admission_rate",
            instead_of="session_lets_in_and_charges_at_least_one_a_second",
        ),
        Edit(
            session,
            {"payment_rate": "0"},
            "payment_rate",
            instead_of="session_lets_in_and_charges_at_least_one_a_second",
        ),
        Edit(session, {"settle_rate": "0"}, "settle_rate", instead_of="session_settles_at_least_one_a_second"),
        Edit(session, {**another_lane, "lanes-2-name": "Press"}, "name", instead_of="lane_name_once_a_session"),
        Edit(session, {**another_lane, "lanes-2-code": "press"}, "code", instead_of="lane_code_once_a_session"),
        Edit(session, {**another_lane, "lanes-2-weight": "101"}, "weight", instead_of="lane_weight_is_bounded"),
        Edit(session, {**another_lane, "lanes-2-name": ""}, "name", instead_of="lane_has_a_name_and_a_code"),
        Edit(session, {"lanes-0-name": "Press"}, "name", instead_of="lane_name_once_a_session"),
        Edit(session, {"ticket_types-1-name": "Standard"}, "name", instead_of="ticket_type_name_once_a_session"),
        Edit(
            session,
            {**another_concession, "concessions-1-name": "CHILD", "concessions-1-percent_off": "10"},
            "name",
            "concession_name_once_a_session",
        ),
        Edit(session, another_concession, "percent_off", "concession_is_a_share_or_a_price"),
        Edit(session, {"concessions-0-price": "5"}, "percent_off", "concession_is_a_share_or_a_price"),
        Edit(stock, {"name": "Standard"}, "name", "ticket_type_name_once_a_session"),
        Edit(
            stock,
            times(sells_from=at(2, 10), sells_until=at(1, 10)),
            "sells_until",
            "ticket_type_sells_from_before_until",
        ),
        Edit(stock, {"max_per_order": "0"}, "max_per_order", instead_of="ticket_type_sells_at_least_one"),
        Edit(
            stock,
            {"collect_minutes": "10"},
            "collect_minutes",
            "ticket_type_only_door_sales_have_a_collecting_deadline",
        ),
        Edit(stock, {"total": "-1"}, "total"),
        Edit(stock, {"price": "-1"}, "price"),
        Edit(shop["pool"], {"name": "Day"}, "name", "pool_name_once_a_session"),
        Edit(voucher, {"code": "spring"}, "code"),
        Edit(voucher, {"code": "é"}, "code", "voucher_code_is_in_capitals"),
        Edit(voucher, {"amount": "5", "currency": "BRL"}, "percent_off", "voucher_is_a_share_or_an_amount"),
        Edit(voucher, {"percent_off": ""}, "percent_off", "voucher_is_a_share_or_an_amount"),
        Edit(
            voucher,
            times(valid_from=at(2, 10), valid_until=at(1, 10)),
            "valid_until",
            "voucher_ends_after_it_begins",
        ),
        Edit(voucher, {"uses": "0"}, "uses", instead_of="voucher_can_be_used_at_least_once"),
        Edit(shop["user"], {"username": "OWNER"}, "__all__", "This name is already taken. Choose another name."),
        Edit(shop["group"], {"name": "boxoffice"}, "name"),
    ]


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def form_of(client: Client, row: Model) -> Form:
    page = page_of(row)
    [form] = [form for form in forms_in(body_of(client.get(page)), page) if form.action == page]
    return form


def errors_in(answer: Any) -> dict[str, list[str]]:
    """Return errors by field, of the form and of its inline forms."""
    forms = [answer.context_data["adminform"].form]
    forms += [form for inline in answer.context_data["inline_admin_formsets"] for form in inline.formset.forms]
    return {name: [str(said) for said in texts] for form in forms for name, texts in form.errors.items()}


@pytest.mark.usefixtures("only_errors_are_rendered", "one_frame")
@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_edit_that_cannot_be_is_told_in_words(shop: dict[str, Any], language: str) -> None:
    client = window_of("owner", language)
    forms = {row.pk: form_of(client, row) for row in shop.values()}
    names = {constraint.name for model in FILLED_IN for constraint in model._meta.constraints}
    wrong = []
    for edit in edits(shop):
        with rehearsed():
            answer = client.post(page_of(edit.row), forms[edit.row.pk].filled_in(**edit.changes))
        said = errors_in(answer) if answer.status_code == 200 else {}
        if (
            list(said) != [edit.field]
            or any(name in body_of(answer) for name in names)
            or (edit.says and sentence_of(edit, language) not in said[edit.field])
        ):
            wrong.append((edit, answer.status_code, said))
    assert wrong == []


@pytest.mark.parametrize("language", ["en", "pt-br"])
@pytest.mark.parametrize("kind", [Concession, Lane])
def test_row_that_another_person_deleted_is_told_in_words(
    shop: dict[str, Any], kind: type[Model], language: str
) -> None:
    client, session = window_of("owner", language), shop["session"]
    form = form_of(client, session)
    kind._default_manager.filter(session=session).first().delete()  # type: ignore[union-attr] # there are some
    answer = client.post(page_of(session), form.filled_in(max_per_buyer="3"))
    with translation.override(language):
        assert translation.gettext(str(GONE)) in html.unescape(body_of(answer))
    session.refresh_from_db()
    assert session.max_per_buyer != 3


def sentence_of(edit: Edit, language: str) -> str:
    with translation.override(language):
        return str(SENTENCES[edit.says][1]) if edit.says in SENTENCES else translation.gettext(edit.says)


@dataclass(frozen=True)
class Beyond:
    """Describe a violation that no form allows, only a direct write."""

    row: str
    written: Mapping[str, Any]


BEYOND_FORMS = {
    "pool_available_never_negative": Beyond("pool", {"available": -1}),
    "pool_available_never_above_capacity": Beyond("pool", {"available": F("capacity") + 1}),
    "ticket_type_available_never_negative": Beyond("stock", {"available": -1}),
    "ticket_type_available_never_above_capacity": Beyond("stock", {"available": F("capacity") + 1}),
    "ticket_type_stock_is_whole": Beyond("stock", {"available": None}),
    "ticket_type_only_a_stock_has_rules_of_its_own": Beyond("seats", {"max_per_order": 1}),
}


def test_each_sentence_is_violated_by_name(shop: dict[str, Any]) -> None:
    violated = {name for edit in edits(shop) for name in (edit.says, edit.instead_of) if name in SENTENCES}
    assert violated | BEYOND_FORMS.keys() == SENTENCES.keys()
    assert violated & BEYOND_FORMS.keys() == set()


@pytest.mark.parametrize("name", BEYOND_FORMS)
def test_write_past_the_forms_is_told_in_its_sentence(shop: dict[str, Any], name: str) -> None:
    row, written = shop[BEYOND_FORMS[name].row], BEYOND_FORMS[name].written
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        type(row).objects.filter(pk=row.pk).update(**written)
    desk = admin.site._registry[type(row)]  # noqa: SLF001 what is registered
    assert isinstance(desk, Desk)
    assert desk.sentence_of(refused.value) == SENTENCES[name][1]


def test_constraint_of_a_form_has_its_sentence() -> None:
    constrained = {constraint.name for model in FILLED_IN for constraint in model._meta.constraints}
    assert constrained == SENTENCES.keys()


def test_model_that_is_filled_in_stands_on_the_forms_that_speak() -> None:
    """Check every model, so that a later desk or table is included too."""
    request = type("Request", (), {"user": User(is_superuser=True, is_active=True)})()
    for model, desk in admin.site._registry.items():  # noqa: SLF001 what is registered
        if model in FILLED_IN:
            assert issubclass(desk.get_form(request), WholeRowForm), model
        inlines = [inline for inline in desk.get_inlines(request, model()) if inline.model in FILLED_IN]
        assert all(issubclass(inline.form, WholeRowForm) for inline in inlines), model


def test_refusal_that_no_form_foresaw_is_told_in_words(shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two people give the same name at once: both forms are right, and the second row is not written."""
    client, hall = window_of("owner"), shop["hall"]
    form = form_of(client, hall)
    monkeypatch.setattr(WholeRowForm, "validate_constraints", lambda _form: None)
    answer = client.post(page_of(hall), form.filled_in(name="Sala 1"))
    assert answer.status_code == 302
    assert [str(said) for said in get_messages(answer.wsgi_request)] == ["This venue has a hall of that name."]
    hall.refresh_from_db()
    assert hall.name == "Sala 2"


def test_row_that_is_not_edited_is_not_judged(shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that unedited rows cost no query: a session's page has all its prices, concessions and lanes."""
    client, session = window_of("owner"), shop["session"]
    form, judged = form_of(client, session), list[Model]()
    monkeypatch.setattr(WholeRowForm, "validate_constraints", lambda form: judged.append(form.instance))
    assert client.post(page_of(session), form.filled_in(**{"lanes-0-name": "Friends"})).status_code == 302
    assert judged == [Lane.objects.get(name="Friends")]


def test_value_that_the_database_cannot_store_is_told_in_words(
    shop: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_arguments: Any, **_options: Any) -> None:
        raise DataError("integer out of range")

    client, show = window_of("owner"), Show.objects.first()
    assert show is not None
    form = form_of(client, show)
    monkeypatch.setattr(Show, "save", overflow)
    answer = client.post(page_of(show), form.values)
    [said] = get_messages(answer.wsgi_request)
    assert str(said) == "Nothing was saved: a value is too large or cannot be stored."
