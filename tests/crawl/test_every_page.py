"""Open every page that a link leads to, as each kind of person, in a house with a history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse

from tests.support import house
from tests.support.house import House
from tests.support.pages import walk, window_of
from ticketing.models import User

pytestmark = pytest.mark.django_db

STATES = 6  # rows of a list whose pages are opened, because each may be in another state
LEFT_TO_THE_OWNER = r"/admin/.*\?|/static/|/api/"  # filters of lists, and files, are the same for all people
UNREAD = ["axes.AccessAttempt", "axes.AccessLog", "axes.AccessFailureLog"]  # the locks of sign-in, usually empty


def starts_of(built: House, name: str | None) -> list[str]:
    """Yield the pages that a person types or finds in a letter."""
    pages = [
        "/",
        "/?day=9999-12-31",
        "/?day=0001-01-01",
        "/?day=tomorrow",
        "/?venue=1",
        "/?q=%00",
        "/sign-in",
        "/register",
    ]
    pages += ["/my-tickets", "/orders", "/api/v1/sessions?date=9999-12-31", "/api/v1/sessions?date=0001-01-01"]
    pages += [f"/sessions/{session.pk}" for session in (built.session, built.called_off, built.over)]
    if name in house.STAFF:
        pages += ["/admin/", "/gate", "/counter"]
        pages += [f"/gate/{session.pk}" for session in (built.session, built.called_off, built.over)]
        pages += [f"/admin/{page}={day}" for page in DAYS for day in ("9999-12-31", "0001-01-01", "tomorrow")]
    if name == "owner":
        pages += list(pages_of_rows())
    return pages


DAYS = ("glance?plays", "glance?sold", "money?last", "money.csv?last")


def pages_of_rows() -> Iterator[str]:
    """Yield the admin's page of every row, with its history, and the forms that add and delete."""
    request = type("Request", (), {"user": User(is_superuser=True, is_active=True)})()
    for model, desk in admin.site._registry.items():  # noqa: SLF001 what is registered
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_changelist") + "?q=Ana"
        yield from (f"{reverse(f'{name}_changelist')}?{query}" for query in asked_of(desk))
        yield from (
            f"{reverse('admin:autocomplete')}?app_label={model._meta.app_label}&model_name={model._meta.model_name}"
            f"&field_name={field}&term={term}"
            for field in desk.autocomplete_fields
            for term in ("%00", "a%00")
        )
        yield reverse(f"{name}_add")
        keys = list(desk.get_queryset(request).values_list("pk", flat=True)[:STATES])
        yield from (reverse(f"{name}_change", args=[key]) for key in keys)
        yield from (reverse(f"{name}_{page}", args=[key]) for key in keys[:1] for page in ("history", "delete"))


def asked_of(desk: admin.ModelAdmin[Any]) -> Iterator[str]:
    """Yield addresses of a list beyond those of its links."""
    filters = [one if isinstance(one, str) else one[0] for one in desk.list_filter if isinstance(one, (str, tuple))]
    for field in [*filters, *([desk.date_hierarchy] if desk.date_hierarchy else [])]:
        yield from (f"{field}=%00", f"{field}__gte=9999-12-31%2023:59:59%2B00:00")
    yield from (f"{desk.date_hierarchy}__year={year}" for year in ("9999", "1") if desk.date_hierarchy)
    yield "p=9999999&o=99"


@pytest.mark.parametrize(
    ("name", "language"),
    [(None, "en"), ("ana", "pt-br"), ("gate", "en"), ("boxoffice", "pt-br"), ("owner", "en")],
)
def test_no_page_fails(standing: House, name: str | None, language: str) -> None:
    """Check that no link leads to an error or to nothing, and that a refused page has a status of its own."""
    left = LEFT_TO_THE_OWNER if name != "owner" else None
    walked = walk(window_of(name, language), starts_of(standing, name), unfollowed=left)
    opened = {address: answer.status_code for address, answer in walked}
    assert {address: status for address, status in opened.items() if status == 404 or status >= 500} == {}
    assert len(opened) > 20
    if name in house.STAFF:
        assert opened[f"/gate/{standing.session.pk}"] == (403 if name == "boxoffice" else 200)


def test_house_has_a_row_of_each_kind(standing: House) -> None:
    """Check that each model has a row, because otherwise the walk opens no page of it."""
    empty = {
        model._meta.label
        for model in admin.site._registry  # noqa: SLF001 what is registered
        if not model._base_manager.exists()
    }
    assert empty == set(UNREAD)
