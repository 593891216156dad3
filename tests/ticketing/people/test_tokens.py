"""Compare the two ways to verify a token: the short one accepts nothing that PyJWT refuses, and reads it alike."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketing import identity
from ticketing.identity import AUDIENCE, ISSUER, InvalidToken, token_key
from ticketing.people import tokens

NOW = 2_000_000_000
SUB = "0198c0de-0000-7000-8000-000000000001"
KEYS = ["iss", "aud", "sub", "typ", "guest", "iat", "exp", "stamp", "nbf", "jti", "extra"]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "iss": st.sampled_from([ISSUER, "elsewhere", "", None, 1]),
    "aud": st.sampled_from([AUDIENCE, [AUDIENCE], [AUDIENCE, "other"], "other", None]),
    "sub": st.sampled_from([SUB, SUB.upper(), SUB.replace("-", ""), "nobody", 7, None]),
    "typ": st.sampled_from(["access", "refresh", "ACCESS", None, 1]),
    "guest": st.sampled_from([True, False, 1, 0, "yes", None]),
    "iat": st.sampled_from([NOW - 60, NOW + 60, "1", None, 1.5]),
    "exp": st.sampled_from([NOW + 60, NOW - 60, 10**30, str(NOW + 60), 1.5e9, None, True]),
    "stamp": st.sampled_from(["", "s", None, 5]),
    "nbf": st.sampled_from([NOW + 10**6, 0, "soon"]),
    "jti": st.sampled_from(["id", 5]),
    "extra": st.just({"nested": True}),
}
RIGHT = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUB, "typ": "access", "guest": True, "iat": NOW - 60, "exp": NOW + 60}


@st.composite
def claims(draw: st.DrawFn) -> dict[str, Any]:
    """Draw right claims with up to three of them changed, added or left out."""
    drawn: dict[str, Any] = dict(RIGHT)
    for name in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
        if draw(st.booleans()):
            drawn[name] = draw(VALUES[name])
        else:
            drawn.pop(name, None)
    return drawn


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


@st.composite
def drawn_tokens(draw: st.DrawFn) -> str:
    """Draw a token: signed by us or by another, with our header or another, whole or changed somewhere."""
    key = draw(st.sampled_from([token_key(), token_key(), token_key(), b"k" * 64]))
    algorithm = draw(st.sampled_from(["HS256", "HS256", "HS256", "HS512"]))
    headers = draw(st.sampled_from([None, None, {"kid": "1"}, {"typ": "at+jwt"}]))
    payload = json.dumps(draw(claims())).encode()
    token = jwt.PyJWS().encode(payload, key, algorithm=algorithm, headers=headers)
    match draw(st.sampled_from(["whole", "whole", "flip", "cut", "pad", "none", "add", "swap"])):
        case "flip":
            place = draw(st.integers(0, len(token) - 1))
            token = token[:place] + draw(st.sampled_from("Aa0_-.=é")) + token[place + 1 :]
        case "cut":
            token = token[: draw(st.integers(0, len(token)))]
        case "pad":
            token += draw(st.sampled_from(["=", "==", " ", "\n", ".", "A"]))
        case "none":
            head = encode(json.dumps({"alg": "none", "typ": "JWT"}).encode())
            token = f"{head}.{token.split('.')[1]}."
        case "add":
            token = f"x{token}"
        case "swap":
            head, _payload, signature = token.split(".")
            token = f"{head}.{encode(json.dumps(RIGHT | {'sub': SUB[:-1] + '2'}).encode())}.{signature}"
    return token


def outcome(read: Any, token: str) -> tuple[UUID, bool, str] | None:
    try:
        buyer = read(token)
    except InvalidToken:
        return None
    return buyer.id, buyer.is_guest, buyer.stamp


@pytest.fixture(autouse=True, scope="module")
def _at_a_fixed_time() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "reckoned_now", lambda: dt.datetime.fromtimestamp(NOW, dt.UTC))
        yield


@given(token=drawn_tokens(), kind=st.sampled_from(["access", "refresh"]))
def test_token_is_read_alike_with_and_without_pyjwt(token: str, kind: str) -> None:
    short = outcome(lambda one: identity.read_token(one, kind=kind), token)
    by_pyjwt = outcome(lambda one: identity._judged(one, kind=kind), token)  # noqa: SLF001 the other way
    assert short == by_pyjwt


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_token_that_the_site_issues_goes_the_short_way(kind: str) -> None:
    for buyer in (identity.new_guest(), identity.Buyer(id=UUID(SUB), is_guest=False, stamp="s")):
        token = identity.issue_tokens(buyer)[kind]
        ours = tokens.claims_of(token, key=token_key(), issuer=ISSUER, audience=AUDIENCE)
        assert ours is not None
        assert (ours.sub, ours.typ, ours.guest) == (str(buyer.id), kind, buyer.is_guest)
