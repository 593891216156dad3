"""Check which sockets may listen at /ws/me: programs with a token, browsers with the cookie from our page."""

import uuid

import pytest
from django.http import HttpResponse
from pytest_django.fixtures import Settings

from base.asking import Buyer
from config import asgi
from realtime.origins import Scope
from ticketing import identity

HOST = "cine.example"
OUR_PAGE = "https://cine.example"
EVIL_PAGE = "https://evil.example"


def scope(*, origin: str | None = None, cookie: str | None = None, offered: tuple[str, ...] = ()) -> Scope:
    headers = {"host": HOST, "origin": origin, "cookie": cookie}
    return {
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value is not None],
        "subprotocols": list(offered),
    }


@pytest.fixture
def cookie(ana: uuid.UUID) -> str:
    """Return the cookie as a browser sends it back, beside others."""
    response = HttpResponse()
    identity.write_cookie(response, Buyer(id=ana, is_guest=True))
    return f"csrftoken=abc; buyer={response.cookies['buyer'].value}; theme=dark"


@pytest.fixture
def tokens(ana: uuid.UUID) -> dict[str, str]:
    return identity.issue_tokens(Buyer(id=ana, is_guest=True))


class TestByCookie:
    def test_socket_knows_the_buyer_of_our_own_page(self, ana: uuid.UUID, cookie: str) -> None:
        assert asgi.authenticate(scope(origin=OUR_PAGE, cookie=cookie)) == ana

    @pytest.mark.parametrize("origin", [EVIL_PAGE, None, "null", ""])
    def test_socket_ignores_a_cookie_from_another_origin(self, origin: str | None, cookie: str) -> None:
        assert asgi.authenticate(scope(origin=origin, cookie=cookie)) is None

    @pytest.mark.parametrize("forged", [None, "", "buyer=", "buyer=guest.x:y:z", "buyer", ";;=;"])
    def test_socket_refuses_a_forged_cookie(self, forged: str | None) -> None:
        assert asgi.authenticate(scope(origin=OUR_PAGE, cookie=forged)) is None


class TestByToken:
    @pytest.mark.parametrize("origin", [None, OUR_PAGE])
    def test_socket_knows_the_buyer(self, origin: str | None, ana: uuid.UUID, tokens: dict[str, str]) -> None:
        assert asgi.authenticate(scope(origin=origin, offered=("bearer", tokens["access"]))) == ana

    def test_socket_refuses_a_page_of_another_origin(self, tokens: dict[str, str]) -> None:
        assert asgi.authenticate(scope(origin=EVIL_PAGE, offered=("bearer", tokens["access"]))) is None

    def test_socket_refuses_a_refresh_token(self, tokens: dict[str, str]) -> None:
        assert asgi.authenticate(scope(offered=("bearer", tokens["refresh"]))) is None

    def test_socket_refuses_an_expired_token(self, ana: uuid.UUID, settings: Settings) -> None:
        settings.JWT_ACCESS_SECONDS = -1
        expired = identity.issue_tokens(Buyer(id=ana, is_guest=True))["access"]

        assert asgi.authenticate(scope(offered=("bearer", expired))) is None

    @pytest.mark.parametrize("offered", [("bearer",), ("bearer", ""), ("bearer", "x.y.z"), ("basic", "x"), ("x",)])
    def test_socket_refuses_anything_else(self, offered: tuple[str, ...]) -> None:
        assert asgi.authenticate(scope(offered=offered)) is None

    def test_socket_with_a_bad_token_does_not_fall_back_to_the_cookie(self, cookie: str) -> None:
        assert asgi.authenticate(scope(origin=OUR_PAGE, cookie=cookie, offered=("bearer", "forged"))) is None
