"""Check how a token or a cookie identifies the sender."""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID, uuid4

import jwt
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from reservations.models import Reservation
from sessions_app.models import Session
from tests.api import assert_problem, client_of, get, post
from tests.conftest import Hold
from tests.factories import UserFactory
from ticketing import identity
from ticketing.identity import Buyer, InvalidToken
from ticketing.models import User

BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"  # RFC 4648, section 5


def claims_of(buyer: UUID, **changes: object) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    claims = {
        "iss": identity.ISSUER,
        "aud": identity.AUDIENCE,
        "sub": str(buyer),
        "typ": identity.ACCESS,
        "guest": True,
        "iat": now,
        "exp": now + dt.timedelta(minutes=5),
    }
    return {**claims, **changes}


def signed(claims: dict[str, object], **how: Any) -> str:
    return jwt.encode(claims, how.pop("key", identity.token_key()), algorithm=how.pop("algorithm", "HS256"))


class TestToken:
    def test_token_says_who_it_was_made_for(self, ana: UUID) -> None:
        tokens = identity.issue_tokens(Buyer(id=ana, is_guest=False))
        assert identity.read_token(tokens["access"]) == Buyer(id=ana, is_guest=False)
        assert identity.buyer_of_token(tokens["access"]) == ana
        assert tokens["buyer"] == str(ana)

    @pytest.mark.parametrize(
        "forge",
        [
            pytest.param(lambda ana: "", id="empty"),
            pytest.param(lambda ana: "ana", id="no token at all"),
            pytest.param(lambda ana: "é" * 40, id="not even ASCII"),
            pytest.param(lambda ana: signed(claims_of(ana), key="x" * 32), id="another key"),
            pytest.param(lambda ana: jwt.encode(claims_of(ana), None, algorithm="none"), id="unsigned"),  # type: ignore[arg-type]
            pytest.param(lambda ana: signed(claims_of(ana), algorithm="HS512"), id="another algorithm"),
            pytest.param(lambda ana: signed(claims_of(ana, exp=0)), id="expired"),
            pytest.param(lambda ana: signed(claims_of(ana, aud="elsewhere")), id="another audience"),
            pytest.param(lambda ana: signed(claims_of(ana, iss="elsewhere")), id="another issuer"),
            pytest.param(lambda ana: signed(claims_of(ana, sub="ana")), id="not a buyer's id"),
            pytest.param(lambda ana: signed(claims_of(ana, sub=7)), id="a number for an id"),
            pytest.param(lambda ana: signed(claims_of(ana, typ=identity.REFRESH)), id="a refresh token"),
            pytest.param(lambda ana: signed({"sub": str(ana)}), id="claims missing"),
        ],
    )
    def test_token_is_refused_unless_whole_and_ours(self, ana: UUID, forge: Callable[[UUID], str]) -> None:
        with pytest.raises(InvalidToken):
            identity.read_token(forge(ana))

    def test_token_is_refused_whichever_character_is_changed(self, ana: UUID) -> None:
        token = identity.issue_tokens(Buyer(id=ana, is_guest=True))["access"]
        for place, letter in enumerate(token):
            if letter == ".":
                continue
            other = BASE64[BASE64.index(letter) ^ 32]  # the first of its six bits, which the last letter uses too
            with pytest.raises(InvalidToken):
                identity.read_token(token[:place] + other + token[place + 1 :])

    def test_token_ends_with_its_time(self, ana: UUID, settings: LazySettings) -> None:
        settings.JWT_ACCESS_SECONDS = -1
        with pytest.raises(InvalidToken):
            identity.buyer_of_token(identity.issue_tokens(Buyer(id=ana, is_guest=True))["access"])


@pytest.mark.django_db
class TestBearer:
    @pytest.mark.parametrize("sent", ["Bearer nonsense", "Bearer", "Basic YW5hOmFuYQ==", "nonsense"])
    def test_bearer_that_is_bad_is_401(self, sent: str) -> None:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=sent)
        response = get(client, "/reservations")
        assert_problem(response, 401, "bad_token")
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_bearer_that_is_missing_is_401(self) -> None:
        response = get(APIClient(), "/reservations")
        assert_problem(response, 401, "not_authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_bearer_that_expired_is_401(self, ana: UUID, settings: LazySettings) -> None:
        settings.JWT_ACCESS_SECONDS = -1
        assert_problem(get(client_of(ana), "/reservations"), 401, "bad_token")

    def test_bearer_goes_before_the_cookie(
        self, ana: UUID, bruno: UUID, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        request = RequestFactory().post("/", headers={"authorization": f"Bearer {access(ana)}"})
        request.COOKIES["buyer"] = cookie_of(bruno)
        with django_assert_num_queries(0):
            assert identity.buyer_of_request(request) == Buyer(id=ana, is_guest=True)


def access(buyer: UUID) -> str:
    return identity.issue_tokens(Buyer(id=buyer, is_guest=True))["access"]


def cookie_of(buyer: UUID, *, guest: bool = True) -> str:
    response = HttpResponse()
    identity.write_cookie(response, Buyer(id=buyer, is_guest=guest))
    return response.cookies["buyer"].value


class TestCookie:
    def test_cookie_says_who_it_was_made_for(self, ana: UUID) -> None:
        assert identity.buyer_of_cookie(cookie_of(ana)) == ana

    @pytest.mark.django_db
    def test_cookie_of_a_missing_account_names_no_buyer(self, ana: UUID) -> None:
        assert identity.read_cookie(cookie_of(ana, guest=False)) is None

    def test_cookie_is_out_of_reach_for_scripts(self, ana: UUID) -> None:
        response = HttpResponse()
        identity.write_cookie(response, Buyer(id=ana, is_guest=True))
        assert response.cookies["buyer"]["httponly"]
        assert response.cookies["buyer"]["samesite"] == "Lax"

    @pytest.mark.parametrize(
        "spoil", [lambda _c: None, lambda _c: "", lambda _c: "guest.1", lambda c: "u" + c[1:], lambda c: c[:-1]]
    )
    def test_forged_cookie_names_no_buyer(self, ana: UUID, spoil: Callable[[str], str | None]) -> None:
        assert identity.read_cookie(spoil(cookie_of(ana))) is None

    def test_old_cookie_names_no_buyer(self, ana: UUID, settings: LazySettings) -> None:
        settings.BUYER_COOKIE_SECONDS = -1
        assert identity.read_cookie(cookie_of(ana)) is None

    @pytest.mark.django_db
    def test_cookie_reads_without_more(self, ana: UUID) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.cookies["buyer"] = cookie_of(ana)
        assert get(client, "/reservations").json()["results"] == []

    def test_cookie_changes_nothing_without_the_csrf_token(self, ana: UUID) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.cookies["buyer"] = cookie_of(ana)
        assert_problem(post(client, f"/reservations/{uuid4()}/extend"), 403, "csrf_failed")
        assert_problem(client.delete(f"/api/v1/reservations/{uuid4()}"), 403, "csrf_failed")

    @pytest.mark.django_db
    def test_cookie_with_the_csrf_token_is_enough(self, ana: UUID) -> None:
        client = APIClient(enforce_csrf_checks=True)
        client.cookies["buyer"] = cookie_of(ana)
        client.cookies["csrftoken"] = "t" * 32
        assert_problem(post(client, f"/reservations/{uuid4()}/extend", X_CSRFToken="t" * 32), 404, "not_found")


def visit(handle: Callable[[Any], None], **cookies: str) -> tuple[HttpRequest, HttpResponse]:
    """Visit a page through the session and the buyer middleware; `handle` is the view."""

    def view(request: HttpRequest) -> HttpResponse:
        handle(request)
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    request.COOKIES.update(cookies)
    return request, cast(HttpResponse, SessionMiddleware(identity.BuyerMiddleware(view))(request))


def kept(response: HttpResponse) -> dict[str, str]:
    return {name: morsel.value for name, morsel in response.cookies.items()}


class TestPages:
    def test_pages_make_a_guest_when_they_need_a_buyer(self) -> None:
        seen: list[UUID] = []
        request, response = visit(lambda request: seen.extend([request.ensure_buyer(), request.ensure_buyer()]))
        assert seen[0] == seen[1] == identity.buyer_of_cookie(kept(response)["buyer"])
        assert request.buyer == seen[0]  # type: ignore[attr-defined] # see BuyerMiddleware

    def test_pages_make_no_guest_of_a_visitor_who_only_looks(self) -> None:
        request, response = visit(lambda request: None)
        assert request.buyer is None  # type: ignore[attr-defined] # see BuyerMiddleware
        assert not response.cookies

    def test_pages_know_a_guest_again(self, ana: UUID) -> None:
        request, response = visit(lambda request: request.ensure_buyer(), buyer=cookie_of(ana))
        assert request.buyer == ana  # type: ignore[attr-defined] # see BuyerMiddleware
        assert not response.cookies

    def test_pages_renew_a_cookie_that_ages(self, ana: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(identity, "COOKIE_RENEWAL_SECONDS", -1)
        _request, response = visit(lambda request: None, buyer=cookie_of(ana))
        assert identity.buyer_of_cookie(kept(response)["buyer"]) == ana


@pytest.mark.django_db(transaction=True)
class TestSignIn:
    def test_sign_in_keeps_what_the_guest_holds(self, ana: UUID, session: Session, hold: Hold) -> None:
        user = UserFactory()
        reservation = hold(session, "A1", buyer=ana)
        _request, response = visit(lambda request: request.sign_in(user), buyer=cookie_of(ana))
        assert identity.read_cookie(kept(response)["buyer"]) == Buyer(id=user.pk, is_guest=False)
        assert Reservation.objects.get(pk=reservation.pk).buyer == user.pk

    def test_sign_in_writes_a_new_cookie_and_a_new_session(self, ana: UUID) -> None:
        user = UserFactory()
        _request, before = visit(lambda request: request.session.update({"basket": "A1"}), buyer=cookie_of(ana))
        _request, after = visit(lambda request: request.sign_in(user), buyer=cookie_of(ana), **kept(before))
        assert kept(before)["sessionid"] != kept(after)["sessionid"]
        assert identity.buyer_of_cookie(kept(after)["buyer"]) == user.pk

    def test_sign_in_ends_with_sign_out(self) -> None:
        user = UserFactory()
        _request, first = visit(lambda request: request.sign_in(user))
        request, second = visit(lambda request: request.sign_out(), **kept(first))
        assert request.buyer is None  # type: ignore[attr-defined] # see BuyerMiddleware
        assert kept(second)["buyer"] == ""

    def test_sign_in_on_the_admin_is_followed_and_so_is_sign_out(self) -> None:
        owner = UserFactory(is_staff=True, is_superuser=True)
        browser = Client()
        browser.post("/admin/login/", {"username": owner.username, "password": "frontrow-demo"})
        assert identity.read_cookie(browser.cookies["buyer"].value) == Buyer(id=owner.pk, is_guest=False)
        browser.post("/admin/logout/")
        assert identity.read_cookie(browser.cookies["buyer"].value) is None


NEW = {"username": "carla", "password": "poltrona-da-frente-7"}


@pytest.mark.django_db(transaction=True)
class TestAuth:
    def test_auth_makes_guests_without_a_row(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(0):
            response = post(APIClient(), "/auth/guest")
        assert response.status_code == 201
        assert identity.read_token(response.json()["access"]) == Buyer(id=UUID(response.json()["buyer"]), is_guest=True)

    def test_auth_gives_a_new_account_what_the_guest_held(self, ana: UUID, session: Session, hold: Hold) -> None:
        hold(session, "A1", buyer=ana)
        response = post(client_of(ana), "/auth/register", NEW)
        assert response.status_code == 201
        user = User.objects.get(username="carla")
        assert response.json()["buyer"] == str(user.pk)
        assert len(get(client_of(user), "/reservations").json()["results"]) == 1

    def test_auth_gives_no_account_to_the_token_of_the_guest_who_registered(
        self, ana: UUID, session: Session, hold: Hold
    ) -> None:
        reservation = hold(session, "A1", buyer=ana)
        before = identity.issue_tokens(Buyer(id=ana, is_guest=True))
        post(client_of(ana), "/auth/register", NEW)
        assert get(client_of(ana), "/reservations").json()["results"] == []
        assert_problem(get(client_of(ana), f"/reservations/{reservation.pk}"), 404, "not_found")
        assert_problem(post(APIClient(), "/auth/token/refresh", {"refresh": before["refresh"]}), 401, "bad_credentials")

    def test_auth_registers_a_visitor_without_credentials(self) -> None:
        response = post(APIClient(), "/auth/register", NEW)
        assert UUID(response.json()["buyer"]) == User.objects.get(username="carla").pk

    def test_auth_registers_the_same_guest_twice_as_two_accounts(self, ana: UUID) -> None:
        post(client_of(ana), "/auth/register", NEW)
        response = post(client_of(ana), "/auth/register", NEW | {"username": "dora"})
        assert response.status_code == 201
        assert response.json()["buyer"] != str(ana)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"username": "CARLA"}, "username"),
            ({"username": "a b"}, "username"),
            ({"username": ""}, "username"),
            ({"username": 7}, "username"),
            ({"username": "x\x00y"}, "username"),
            ({"password": "12345678"}, "password"),
            ({"password": "dora"}, "password"),
            ({"password": None}, "password"),
            ({"email": "nowhere"}, "email"),
        ],
    )
    def test_auth_names_the_field_that_is_wrong(self, change: dict[str, object], field: str) -> None:
        UserFactory(username="carla")
        problem = assert_problem(
            post(APIClient(), "/auth/register", {**NEW, "username": "dora", **change}), 400, "invalid"
        )
        assert {error["field"] for error in problem["errors"]} == {field}
        assert User.objects.count() == 1

    def test_auth_gives_tokens_for_name_and_password(self) -> None:
        user = UserFactory(username="ana")
        response = post(APIClient(), "/auth/token", {"username": "ana", "password": "frontrow-demo"})
        assert identity.read_token(response.json()["access"]) == Buyer(id=user.pk, is_guest=False)

    def test_auth_gives_the_account_what_the_guest_held(self, bruno: UUID, session: Session, hold: Hold) -> None:
        user = UserFactory(username="ana")
        reservation = hold(session, "B2", buyer=bruno)
        post(client_of(bruno), "/auth/token", {"username": "ana", "password": "frontrow-demo"})
        assert Reservation.objects.get(pk=reservation.pk).buyer == user.pk

    def test_auth_never_gives_away_what_another_account_holds(self, ana: UUID, session: Session, hold: Hold) -> None:
        UserFactory(username="bruno")
        post(client_of(ana), "/auth/register", NEW)
        reservation = hold(session, "B2", buyer=ana)
        post(client_of(ana), "/auth/token", {"username": "bruno", "password": "frontrow-demo"})
        assert Reservation.objects.get(pk=reservation.pk).buyer == User.objects.get(username="carla").pk

    def test_auth_refuses_a_wrong_password(self) -> None:
        UserFactory(username="ana")
        response = post(APIClient(), "/auth/token", {"username": "ana", "password": "wrong"})
        assert_problem(response, 401, "bad_credentials")
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_auth_locks_out_a_guesser(self, settings: LazySettings) -> None:
        settings.AXES_ENABLED = True
        UserFactory(username="ana")
        wrong = {"username": "ana", "password": "wrong"}
        answers = [post(APIClient(), "/auth/token", wrong) for _guess in range(settings.AXES_FAILURE_LIMIT)]
        response = answers[-1]
        assert_problem(response, 429, "locked_out")
        assert int(response["Retry-After"]) > 0
        response = post(APIClient(), "/auth/token", {"username": "ana", "password": "frontrow-demo"})
        assert_problem(response, 429, "locked_out")

    def test_auth_refreshes_with_a_refresh_token_only(self, ana: UUID) -> None:
        tokens = identity.issue_tokens(Buyer(id=ana, is_guest=True))
        fresh = post(APIClient(), "/auth/token/refresh", {"refresh": tokens["refresh"]})
        assert fresh.json()["buyer"] == str(ana)
        refused = post(APIClient(), "/auth/token/refresh", {"refresh": tokens["access"]})
        assert_problem(refused, 401, "bad_credentials")
        assert refused["WWW-Authenticate"].startswith("Bearer")

    def test_auth_refreshes_no_account_that_was_closed(self) -> None:
        user = UserFactory(is_active=False)
        tokens = identity.issue_tokens(Buyer(id=user.pk, is_guest=False))
        assert_problem(post(APIClient(), "/auth/token/refresh", {"refresh": tokens["refresh"]}), 401, "bad_credentials")


class TestMe:
    def test_guest_has_an_id_and_no_name(self, ana: UUID) -> None:
        assert get(client_of(ana), "/me").json() == {"buyer": str(ana), "is_guest": True, "name": ""}

    def test_account_has_its_name(self, db: None) -> None:
        account = UserFactory.create(username="Ana")
        assert get(client_of(account), "/me").json() == {"buyer": str(account.pk), "is_guest": False, "name": "Ana"}

    def test_closed_account_is_unauthenticated(self, db: None) -> None:
        account = UserFactory.create(username="Ana")
        client = client_of(account)
        User.objects.filter(pk=account.pk).update(is_active=False)
        assert_problem(get(client, "/me"), 401, "not_authenticated")

    def test_stranger_is_asked_for_credentials(self, db: None) -> None:
        assert get(APIClient(), "/me").status_code == 401
