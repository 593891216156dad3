"""Send every form of the admin unchanged and with each field wrong, as each kind of staff, in a built house."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.urls import reverse

from reservations.hold_request import ORDER_SCOPE
from reservations.models import Reservation
from sessions_app.models import TicketType
from tests.support.house import House
from tests.support.pages import window_of
from tests.support.rehearsal import rehearsed
from tests.support.tries import Tries, complaint, forms_on

pytestmark = pytest.mark.django_db

SAMPLE = 5
KINDS = ("Standard", "Balcony")


def desk_pages(built: House) -> Iterator[str]:
    """Yield the admin's pages with forms: one per kind of row; of sessions and ticket types one per state."""
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
    orders = Reservation.objects.filter(scope=ORDER_SCOPE).values_list("pk", flat=True)
    yield from (reverse("admin:ticketing_order_change", args=[order]) for order in orders)


@pytest.mark.usefixtures("unhurried", "only_errors_are_rendered", "one_frame")
@pytest.mark.parametrize(
    ("name", "language", "step"), [("owner", "en", 1), ("boxoffice", "pt-br", SAMPLE), ("gate", "pt-br", SAMPLE)]
)
def test_form_of_the_desk_never_fails(standing: House, name: str, language: str, step: int) -> None:
    """Check that the unchanged form is accepted and a wrong field is explained. `step` selects every n-th field."""
    client, tries, number = window_of(name, language), Tries(), itertools.count()
    wrong, taken = [], 0
    alike = {
        reverse("admin:sessions_app_session_change", args=[one.pk]) for one in (standing.called_off, standing.over)
    }
    for page in desk_pages(standing):
        for form in forms_on(client, page):
            if form.action == page and not page.endswith("/add/"):
                with rehearsed():
                    answer = client.post(form.action, form.values)
                taken += answer.status_code == 302
                if answer.status_code >= 500 or (page.endswith("/change/") and answer.status_code not in {302, 403}):
                    wrong.append((page, "as it stands", answer.context and answer.context.get("errors")))
            for what, values in tries.of(form) if page not in alike else ():
                if next(number) % step:
                    continue
                with rehearsed():
                    if said := complaint(client, form.action, values):
                        wrong.append((form.action, what[:60], said))
    assert wrong == []
    assert taken > 10 or name == "gate"
    assert next(number) > 300 or name == "gate"
