"""Send every form of buyers, gate and counter unchanged and with each field wrong, in a house with a history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from reservations.hold_request import ORDER_SCOPE
from reservations.models import Reservation
from tests.support import house
from tests.support.house import House
from tests.support.pages import window_of
from tests.support.tries import Tries, complaint, forms_on
from ticketing.models import Sale, Ticket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("unhurried")]


@pytest.fixture
def built(transactional_db: None) -> House:
    return house.build()


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
    if name in {"owner", "boxoffice"}:
        yield reverse("counter", args=[built.session.pk])
        yield from (reverse("counter-hold", args=[one]) for one in ids(Reservation, status="held"))
    if name in {"owner", "gate"}:
        yield reverse("gate")
        yield from (reverse("gate-scanner", args=[one.pk]) for one in (built.session, built.called_off, built.over))


def ids(model: Any, **which: Any) -> list[Any]:
    return list(model.objects.filter(**which).order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("name", "language"), [(None, "pt-br"), ("ana", "en"), ("gate", "pt-br"), ("boxoffice", "en"), ("owner", "pt-br")]
)
def test_form_for_the_public_never_fails(built: House, name: str | None, language: str) -> None:
    """Send each wrong field first, and then the unchanged form, which changes its page."""
    client, tries = window_of(name, language), Tries()
    wrong, seen = [], set[tuple[str, ...]]()
    for page in public_pages(built, name):
        for form in forms_on(client, page):
            kind = (re.sub(r"[0-9a-f-]{36}", "*", form.action), *form.kinds)
            if kind in seen:
                continue
            seen.add(kind)
            for what, values in [*tries.of(form), ("as it stands", form.values)]:
                if said := complaint(client, form.action, values):
                    wrong.append((form.action, what[:60], said))
    assert wrong == []
    assert seen or name == "gate"
