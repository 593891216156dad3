"""Check that a sign-out, a new password, closing or deleting ends every earlier cookie and refresh token at once."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from base.breaker import BreakerOpen
from realtime import wire
from reservations.claims import claims, keys
from sessions_app.models import Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import UserFactory
from tests.processes import until
from tests.support.pages import body_of, forms_in
from ticketing import identity, stamps
from ticketing.models import User
from ticketing.people import accounts

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "poltrona-da-frente-7"


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create(username="ana", is_staff=True, is_superuser=True)
    return made


@pytest.fixture
def phone(user: User) -> Client:
    """Return another browser of the same person, signed in."""
    return signed_in(user)


@pytest.fixture
def refresh(user: User) -> str:
    tokens = post(APIClient(), "/auth/token", {"username": "ana", "password": "frontrow-demo"}).json()
    return str(tokens["refresh"])


def signed_in(user: User, password: str = "frontrow-demo") -> Client:
    browser = Client()
    browser.post("/sign-in", {"username": user.get_username(), "password": password})
    assert calls(browser)["/reservations"] == 200
    return browser


def calls(browser: Client) -> dict[str, int]:
    """Return the answers of the API's own-data calls to this browser's cookies."""
    client = APIClient()
    client.cookies = browser.cookies
    paths = ("/reservations", "/orders", "/sales", "/tickets")
    return {path: get(client, path).status_code for path in paths}


def sign_out(user: User) -> None:
    signed_in(user).post("/sign-out")


def sign_out_where_the_cookie_is_lost(user: User) -> None:
    browser = signed_in(user)
    del browser.cookies["buyer"]
    browser.post("/sign-out")


def sign_out_of_the_admin(user: User) -> None:
    signed_in(user).post("/admin/logout/")


def change_password(user: User) -> None:
    user.set_password(PASSWORD)
    user.save()


def change_password_in_the_admin(user: User) -> None:
    other: User = UserFactory.create(is_staff=True, is_superuser=True)
    fields = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    answer = signed_in(other).post(reverse("admin:auth_user_password_change", args=[user.pk]), fields)
    assert answer.status_code == 302


def close(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def close_one(user: User) -> None:
    user.is_active = False
    user.save(update_fields=["is_active"])


def close_in_the_admin(user: User) -> None:
    browser = signed_in(UserFactory.create(is_staff=True, is_superuser=True))
    page = reverse("admin:ticketing_user_change", args=[user.pk])
    [form] = [form for form in forms_in(body_of(browser.get(page)), page) if form.action == page]
    assert form.values.pop("is_active")
    assert browser.post(page, form.values).status_code == 302


def close_past_django(user: User) -> None:
    """Close the account past Django. Redis then keeps its copy of the stamp for at most a minute."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ticketing_user SET is_active = false WHERE id = %s", [user.pk])
    claims.client().delete(keys.key("stamp", user.pk))


CLOSINGS = [close, close_one, close_in_the_admin]


def delete(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def delete_one(user: User) -> None:
    User.objects.get(pk=user.pk).delete()


ENDINGS = [
    sign_out, sign_out_where_the_cookie_is_lost, sign_out_of_the_admin, change_password,
    change_password_in_the_admin, *CLOSINGS, delete, delete_one
]  # fmt: skip


@pytest.mark.parametrize("end", ENDINGS)
class TestWhatEndsThem:
    def test_each_ending_ends_cookies_sessions_and_refresh_tokens(
        self, end: Callable[[User], None], user: User, phone: Client, refresh: str, session: Session
    ) -> None:
        end(user)
        assert set(calls(phone).values()) == {401}
        assert phone.get("/admin/").status_code == 302  # Django's session as well
        assert "Sign out" not in phone.get(f"/sessions/{session.pk}?plain=1").content.decode()
        assert_problem(post(APIClient(), "/auth/token/refresh", {"refresh": refresh}), 401, "bad_credentials")

    def test_each_ending_works_while_redis_is_away(
        self, end: Callable[[User], None], user: User, phone: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cookie = phone.cookies["buyer"].value
        monkeypatch.setattr(claims, "client", away)
        assert identity.read_cookie(cookie) is not None
        end(user)
        assert identity.read_cookie(cookie) is None

    def test_unwritten_endings_are_written_when_redis_is_back(
        self, end: Callable[[User], None], user: User, phone: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cookie = phone.cookies["buyer"].value
        assert identity.read_cookie(cookie) is not None  # Redis knows its stamp now
        with monkeypatch.context() as outage:
            outage.setattr(claims, "client", away)
            end(user)
        until(lambda: identity.read_cookie(cookie) is None, seconds=10, what="the stamp being written")


def away() -> None:
    raise BreakerOpen


@pytest.mark.parametrize("close", [*CLOSINGS, close_past_django])
class TestAnAccountThatIsOpenedAgain:
    def test_reopened_account_has_no_earlier_credentials(
        self, close: Callable[[User], None], user: User, phone: Client, refresh: str
    ) -> None:
        close(user)
        user.is_active = True
        user.save()  # with the generation that it knew
        assert set(calls(phone).values()) == {401}
        assert phone.get("/admin/").status_code == 302
        assert_problem(post(APIClient(), "/auth/token/refresh", {"refresh": refresh}), 401, "bad_credentials")

    def test_reopened_account_can_sign_in(self, close: Callable[[User], None], user: User) -> None:
        close(user)
        User.objects.filter(pk=user.pk).update(is_active=True)
        browser = signed_in(user)
        assert browser.get("/admin/").status_code == 200


class TestACookie:
    def test_cookie_costs_no_query(
        self, user: User, phone: Client, django_assert_num_queries: Callable[..., object]
    ) -> None:
        cookie = phone.cookies["buyer"].value
        identity.read_cookie(cookie)
        with django_assert_num_queries(0):  # type: ignore[attr-defined]
            assert identity.read_cookie(cookie) == identity.as_buyer(user)

    def test_cookie_without_redis_costs_a_query_a_second(
        self,
        user: User,
        phone: Client,
        monkeypatch: pytest.MonkeyPatch,
        django_assert_num_queries: Callable[..., object],
    ) -> None:
        cookie = phone.cookies["buyer"].value
        monkeypatch.setattr(claims, "client", away)
        with django_assert_num_queries(1):  # type: ignore[attr-defined]
            assert [identity.read_cookie(cookie) for _time in range(5)] == [identity.as_buyer(user)] * 5

    def test_cookie_counts_again_after_signing_in(self, user: User, phone: Client) -> None:
        sign_out(user)
        phone.post("/sign-in", {"username": "ana", "password": "frontrow-demo"})
        assert calls(phone)["/reservations"] == 200

    def test_cookie_stays_valid_in_the_browser_that_changed_the_password(self, user: User, phone: Client) -> None:
        fields = {"old_password": "frontrow-demo", "new_password1": PASSWORD, "new_password2": PASSWORD}
        other = signed_in(user)
        assert phone.post("/admin/password_change/", fields).status_code == 302
        assert calls(phone)["/reservations"] == 200
        assert calls(other)["/reservations"] == 401

    def test_cookie_of_an_older_version_is_made_anew_from_the_session(
        self, user: User, phone: Client, session: Session
    ) -> None:
        phone.cookies["buyer"] = identity._signer.sign(f"user.{user.pk}")  # noqa: SLF001 as it was written before
        assert calls(phone)["/reservations"] == 401
        phone.get(f"/sessions/{session.pk}")
        assert calls(phone)["/reservations"] == 200

    def test_cookie_is_kept_by_what_changes_nothing(self, user: User, phone: Client, refresh: str) -> None:
        User.objects.filter(pk=user.pk).update(first_name="Ana")
        user.refresh_from_db()
        user.email = "ana@example.org"
        user.save()
        assert calls(phone)["/reservations"] == 200
        assert post(APIClient(), "/auth/token/refresh", {"refresh": refresh}).status_code == 200

    def test_signing_out_changes_the_csrf_token(self, user: User, phone: Client, session: Session) -> None:
        phone.get(f"/sessions/{session.pk}")
        before = phone.cookies["csrftoken"].value
        phone.post("/sign-out")
        assert phone.cookies["csrftoken"].value != before


class TestSockets:
    def test_sockets_are_told_that_their_credentials_ended(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[tuple[UUID, str]] = []
        monkeypatch.setattr(wire, "send_personal", lambda *, buyer, message: told.append((buyer, message["type"])))
        stamps.is_current(user.pk, user.stamp)
        user.save()
        assert told == []
        accounts.end_credentials(user.pk)
        assert told == [(user.pk, wire.SIGNED_OUT)]


class TestAccessToken:
    def test_access_token_lives_on_until_it_expires(self, user: User, session: Session, hold: Hold) -> None:
        """Check that verifying an access token asks no store; see docs/adr/0023."""
        client = client_of(user)
        sign_out(user)
        assert get(client, "/reservations").status_code == 200


def test_sessions_of_accounts_that_never_signed_out_stay_what_they_were(user: User) -> None:
    assert user.get_session_auth_hash() == AbstractBaseUser._get_session_auth_hash(user)  # type: ignore[attr-defined] # noqa: SLF001
