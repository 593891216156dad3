"""Check that a form uses the same bucket as its call of the API, and says when to try again."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import translation
from rest_framework.test import APIClient

from reservations.models import Reservation
from sessions_app.models import Session
from tests.api import assert_problem, client_of, post
from tests.conftest import Hold
from tests.factories import UserFactory, VoucherFactory
from ticketing.models import User

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = {"username": "nobody", "password": "not-the-right-one"}
FORMS = {
    "sign in": ("/sign-in", NOBODY),
    "register": ("/register", {"username": "x", "password1": "1", "password2": "2"}),
    "sign in to the admin": ("/admin/login/", NOBODY),
    "change a password in the admin": ("/admin/password_change/", {"old_password": "guess"}),
    "pass on": (f"/tickets/{uuid.uuid4()}", {"username": "ana"}),
    "give back": (f"/sales/{uuid.uuid4()}/refund", {}),
    "put a voucher on": (f"/reservations/{uuid.uuid4()}/price", {"voucher": "GUESS"}),
    "hold": (f"/sessions/{uuid.uuid4()}/hold", {"seats": "A1"}),
    "give an order up": (f"/orders/{uuid.uuid4()}/give-up", {}),
    "scan": (f"/gate/{uuid.uuid4()}", {"code": "GUESS"}),
    "change the language": ("/language", {"language": "en"}),
}


@pytest.fixture(autouse=True)
def limits(settings: LazySettings) -> LazySettings:
    settings.RATE_LIMITS, settings.AXES_ENABLED = True, False
    few = {"address": (0.01, 3), "buyer": (0.01, 3)}
    settings.LIMITS = {**settings.LIMITS, "write": few, "codes": few, "credentials": {"address": (0.01, 3)}}
    return settings


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_limited(form: str) -> None:
    path, fields = FORMS[form]
    answers = [Client().post(path, fields) for _try in range(5)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, False, True, True]
    assert 90 <= int(answers[-1]["Retry-After"]) <= 100
    assert re.search(r"Try again in (9\d|100) seconds", answers[-1].content.decode())


def test_a_form_of_another_address_is_not() -> None:
    path, fields = FORMS["sign in"]
    assert [Client().post(path, fields).status_code for _try in range(4)] == [200, 200, 200, 429]
    assert Client(REMOTE_ADDR="198.51.100.7").post(path, fields).status_code == 200


def test_signing_in_has_one_limit_by_every_way() -> None:
    ways: list[Callable[[], int]] = [
        lambda: Client().post("/sign-in", NOBODY).status_code,
        lambda: Client().post("/admin/login/", NOBODY).status_code,
        lambda: post(APIClient(), "/auth/token", NOBODY).status_code,
    ]
    assert [way() for way in ways] == [200, 200, 401]
    assert [way() for way in ways] == [429, 429, 429]


def test_the_page_says_it_in_portuguese() -> None:
    answers = [Client(headers={"accept-language": "pt-br"}).post("/sign-in", NOBODY) for _try in range(4)]
    translation.activate("en")
    assert "Tente de novo em" in answers[-1].content.decode()


def test_reading_a_page_is_not_limited() -> None:
    assert {Client().get("/sign-in").status_code for _time in range(6)} == {200}


def test_forms_are_not_limited_while_limits_are_off(limits: LazySettings) -> None:
    limits.RATE_LIMITS = False
    assert {Client().post("/sign-in", NOBODY).status_code for _try in range(6)} == {200}


class TestCode:
    def test_code_of_a_voucher_is_guessed_a_few_times(
        self, ana: UUID, session: Session, hold: Hold, limits: LazySettings
    ) -> None:
        limits.LIMITS = {**limits.LIMITS, "write": {"address": (9, 99), "buyer": (9, 99)}}
        held, right = hold(session, "A1", buyer=ana), VoucherFactory.create()
        path = f"/reservations/{held.pk}/price"
        for _guess in range(3):
            assert_problem(post(client_of(ana), path, {"voucher": "GUESS"}), 400, "voucher_unknown")
        assert_problem(post(client_of(ana), path, {"voucher": right.code}), 429, "rate_limited")
        assert post(client_of(ana), path, {"concessions": {}}).status_code == 200

    def test_code_of_an_orders_voucher_is_guessed_a_few_times(self, session: Session, limits: LazySettings) -> None:
        limits.LIMITS = {**limits.LIMITS, "write": {"address": (9, 99), "buyer": (9, 99)}}
        body = {"session": str(session.pk), "seats": ["A1"], "payment": {"method": "fake", "token": "ok"}}
        answers = [
            post(client_of(uuid.uuid4()), "/orders", {**body, "voucher": "GUESS"}, idempotency_key=uuid.uuid4().hex)
            for _guess in range(4)
        ]
        assert [answer.status_code for answer in answers] == [400, 400, 400, 429]
        fair = post(client_of(uuid.uuid4()), "/orders", body, idempotency_key="fair")
        assert fair.status_code == 202
        assert Reservation.objects.count() == 1

    def test_code_of_an_account_is_probed_a_few_times(self, limits: LazySettings) -> None:
        limits.LIMITS = {**limits.LIMITS, "write": {"address": (9, 99), "buyer": (9, 99)}}
        giver: User = UserFactory.create()
        path = f"/tickets/{uuid.uuid4()}/transfer"
        answers = [post(client_of(giver), path, {"username": f"guess{n}"}).status_code for n in range(4)]
        assert answers[:3] != [429] * 3
        assert answers[3] == 429
