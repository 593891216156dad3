"""Provide a house with a history for several tests, and make a crawl of a thousand pages fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.http import HttpRequest
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import TransactionTestCase
from django.utils import translation
from pytest_django import DjangoDbBlocker

from tests.conftest import start_afresh
from tests.support import house
from tests.support.house import House


@pytest.fixture(scope="module")
def standing(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[House]:
    """Provide one house for the tests of a file, each of which undoes its changes."""
    start_afresh()
    with django_db_blocker.unblock():
        built = house.build()
    yield built
    with django_db_blocker.unblock():
        TransactionTestCase("run")._fixture_teardown()  # type: ignore[attr-defined] # noqa: SLF001 Django's flush


@pytest.fixture
def unhurried(settings: LazySettings) -> None:
    """Switch limits off: a person does not send five forms a second."""
    settings.RATE_LIMITS = settings.AXES_ENABLED = False


@pytest.fixture
def only_errors_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render only the fields with errors: a refused form has some hundred widgets, and only these differ."""
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


@pytest.fixture
def one_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the frame around each page of the admin, such as its menu, once per person and language."""
    frame_of, kept = admin.site.each_context, dict[tuple[Any, str | None], dict[str, Any]]()

    def frame(request: HttpRequest) -> dict[str, Any]:
        key = request.user.pk, translation.get_language()
        if key not in kept:
            kept[key] = frame_of(request)
        return {**kept[key]}

    monkeypatch.setattr(admin.site, "each_context", frame)
