"""Every form, sent back as it stands and with each field wrong, by each kind of person in a house with a history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.contrib import admin
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import Client
from django.urls import reverse

from reservations.hold_request import ORDER_SCOPE
from reservations.models import Reservation
from sessions_app.models import TicketType
from tests.support import house
from tests.support.house import House
from tests.support.pages import Form, body_of, forms_in, window_of
from tests.support.rehearsal import rehearsed
from ticketing.models import Sale, Ticket

pytestmark = pytest.mark.django_db(transaction=True)

ON_EVERY_PAGE = re.compile(r"^/(i18n/|admin/logout|sign-out)")
MACHINERY = re.compile(r"^csrfmiddlewaretoken$|^action$|__prefix__|-MIN_NUM_FORMS$|-MAX_NUM_FORMS$")
FIRST_ROWS = re.compile(r"-[1-9]\d*-")  # the other rows of a table have the same fields as its first
LISTS = {"_selected_action", "select_across", "index"}
NAMES_OF_CONSTRAINTS = {constraint.name for model in apps.get_models() for constraint in model._meta.constraints}

LONG, NUL, UNKNOWN = "9" * 400, "a\0b", "00000000-0000-7000-8000-000000000000"
OUT_OF_REACH = ["0001-01-01", "9999-12-31"]


@pytest.fixture
def built(transactional_db: None, settings: LazySettings) -> House:
    settings.RATE_LIMITS = settings.AXES_ENABLED = False  # a person doesn't fill in five forms a second
    return house.build()


def desk_pages(built: House) -> Iterator[str]:
    """The admin's pages with forms: of each kind of row one, of sessions and ticket types one in each state."""
    several: dict[Any, list[Any]] = {
        "session": [built.session.pk, built.called_off.pk, built.over.pk],
        "tickettype": [TicketType.objects.filter(session=built.session, name=name).get().pk for name in KINDS],
    }
    for model in admin.site._registry:  # noqa: SLF001 what is registered
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        keys = several.get(model._meta.model_name) or model._base_manager.values_list("pk", flat=True)[:1]
        yield from (reverse(f"{name}_change", args=[key]) for key in keys)
    yield reverse("admin:sessions_app_hall_import_hall")
    yield reverse("admin:sessions_app_hall_import_plan", args=[built.session.hall_id])
    yield from (reverse("seat-desk", args=[session.pk]) for session in (built.session, built.over))
    yield reverse("refund-desk")
    yield from (reverse("admin:ticketing_order_change", args=[order]) for order in orders())


KINDS = ("Standard", "Balcony")


def orders() -> Iterator[Any]:
    yield from ids(Reservation, scope=ORDER_SCOPE)


def forms_on(client: Client, page: str) -> list[Form]:
    answer = client.get(page)
    assert answer.status_code < 500, page
    if answer.status_code != 200:
        return []
    return [form for form in forms_in(body_of(answer), page) if not ON_EVERY_PAGE.match(form.action)]


def wrong_values(name: str, kind: str) -> list[str]:
    """What is wrong in a way of its own; what every field may be given is in `ALIKE`."""
    if name.endswith("_FORMS"):
        return ["", NUL]
    if name.endswith("_0") or kind == "date":
        return OUT_OF_REACH
    return {"number": ["", "-1", "2147483648"], "select": [UNKNOWN], "text": [""]}.get(kind, [])


ALIKE = (NUL, LONG, "-1", UNKNOWN, "")


def tries(form: Form) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Name what is wrong, and fill the form in with it: each field in a way of its own, then all of them in the same."""
    fields = {
        name: kind for name, kind in form.kinds.items() if not MACHINERY.search(name) and not FIRST_ROWS.search(name)
    }
    for name, kind in fields.items():
        yield from ((f"{name}={wrong}", form.filled_in(**{name: wrong})) for wrong in wrong_values(name, kind))
    kept = {name for name in fields if name.endswith("_FORMS") or name == "_selected_action"}
    for wrong in ALIKE if fields.keys() - kept - LISTS else ():
        yield f"all={wrong}", form.filled_in(**dict.fromkeys(fields.keys() - kept, wrong))


def complaint(client: Client, action: str, values: dict[str, list[str]]) -> str | None:
    """What is wrong with the site's answer: an error, a constraint's name, or a page that can't be shown afterwards."""
    answer = client.post(action, values)
    if answer.status_code == 302 and any(values[name][0] in OUT_OF_REACH for name in values if name.endswith("_0")):
        answer = client.get(answer["Location"])
    if answer.status_code >= 500:
        return f"{answer.status_code} {getattr(answer, 'exc_info', '')}"
    named = {name for name in NAMES_OF_CONSTRAINTS if name in body_of(answer)} if answer.status_code == 200 else None
    return f"shows {named}" if named else None


# --- The desks


@pytest.mark.parametrize(("name", "language"), [("owner", "en"), ("boxoffice", "pt-br")])
def test_form_of_the_desk_is_taken_as_it_stands(built: House, name: str, language: str) -> None:
    client = window_of(name, language)
    refused, taken = [], 0
    for page in desk_pages(built):
        for form in forms_on(client, page):
            if form.action != page or page.endswith("/add/"):
                continue
            with rehearsed():
                answer = client.post(form.action, form.values)
            taken += answer.status_code == 302
            if answer.status_code >= 500 or (page.endswith("/change/") and answer.status_code not in {302, 403}):
                refused.append((page, answer.status_code, answer.context and answer.context.get("errors")))
    assert refused == []
    assert taken > 10


@pytest.fixture
def only_errors_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is refused is a page of some hundred widgets; those of the fields to blame are what differs."""
    whole: Any = vars(SimpleTemplateResponse)["rendered_content"].fget

    def rendered(answer: TemplateResponse) -> str:
        context = answer.context_data or {}
        if "adminform" not in context or not context.get("errors"):
            return str(whole(answer))
        forms = [context["adminform"].form]
        forms += [form for inline in context["inline_admin_formsets"] for form in inline.formset.forms]
        blamed = (form[name] for form in forms for name in form.errors if name in form.fields)
        return f"{context['errors']} {' '.join(map(str, blamed))}"

    monkeypatch.setattr(TemplateResponse, "rendered_content", property(rendered))


@pytest.mark.usefixtures("only_errors_are_rendered")
def test_wrong_field_of_the_desk_never_fails(built: House) -> None:
    client = window_of("owner")
    wrong, number = [], 0
    skipped = {reverse("admin:sessions_app_session_change", args=[one.pk]) for one in (built.called_off, built.over)}
    for page in desk_pages(built):
        for form in forms_on(client, page) if page not in skipped else []:
            for what, values in tries(form):
                number += 1
                with rehearsed():
                    if said := complaint(client, form.action, values):
                        wrong.append((form.action, what[:60], said))
    assert wrong == []
    assert number > 300


# --- The pages of buyers, the gate and the counter


def public_pages(built: House, name: str | None) -> Iterator[str]:
    yield from (reverse("session", args=[one.pk]) for one in (built.session, built.called_off, built.over))
    if name is None:
        yield from (reverse("sign-in"), reverse("register"))
    if name == "ana":
        yield reverse("purchases")
        yield from (reverse("reservation", args=[one]) for one in ids(Reservation, buyer=built.ana, scope=""))
        yield from (reverse("order", args=[one]) for one in ids(Reservation, buyer=built.ana, scope=ORDER_SCOPE))
        yield from (reverse("sale", args=[one]) for one in ids(Sale, buyer=built.ana))
        yield from (reverse("ticket", args=[one]) for one in ids(Ticket, sale__buyer=built.ana))
    if name == "boxoffice":
        yield reverse("counter", args=[built.session.pk])
        yield from (reverse("counter-hold", args=[one]) for one in ids(Reservation, status="held"))
    if name == "gate":
        yield reverse("gate")


def ids(model: Any, **which: Any) -> list[Any]:
    return list(model.objects.filter(**which).order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize(("name", "language"), [(None, "pt-br"), ("ana", "en"), ("gate", "pt-br"), ("boxoffice", "en")])
def test_form_for_the_public_never_fails(built: House, name: str | None, language: str) -> None:
    """Each field wrong first, and then the form as it stands, after which its page is another."""
    client = window_of(name, language)
    wrong, seen = [], set[tuple[str, ...]]()
    for page in public_pages(built, name):
        for form in forms_on(client, page):
            kind = (re.sub(r"[0-9a-f-]{36}", "*", form.action), *form.kinds)
            if kind in seen:
                continue
            seen.add(kind)
            for what, values in [*tries(form), ("as it stands", form.values)]:
                if said := complaint(client, form.action, values):
                    wrong.append((form.action, what[:60], said))
    assert wrong == []
    assert seen or name == "gate"
