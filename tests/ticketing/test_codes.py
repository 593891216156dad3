"""Check signed codes."""

from __future__ import annotations

import base64
import subprocess
import sys
import uuid
from typing import Any

import pytest
import segno
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.test import Client

from ticketing import codes
from ticketing.models import new_code
from ticketing.refusals import ForgedCode, UnknownCode

TONIGHT = uuid.UUID("019337a0-5b1c-7f2e-9d3a-1c2b3a4d5e6f")
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def public_half(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


class TestCode:
    def test_code_reads_as_the_short_code_it_was_made_of(self) -> None:
        short = new_code()
        assert codes.read(codes.sign(short, session=TONIGHT)) == short

    @pytest.mark.parametrize("typed", ["K7QM2X9DR4TV", "k7qm-2x9d-r4tv", " K7QM 2X9D R4TV\n"])
    def test_code_is_read_as_people_type_it(self, typed: str) -> None:
        assert codes.read(typed) == "K7QM2X9DR4TV"

    def test_code_takes_an_o_for_a_zero_and_an_i_for_a_one(self) -> None:
        assert codes.read("OOOO-IIII-LLLL") == "000011111111"

    def test_code_of_a_ticket_sold_long_ago_is_signed_too(self) -> None:
        assert codes.read(codes.sign("7" * 26, session=TONIGHT)) == "7" * 26

    def test_code_fits_a_small_picture(self) -> None:
        made = segno.make(codes.sign(new_code(), session=TONIGHT), error="m", micro=False)
        assert (made.mode, made.version) == ("alphanumeric", 6)

    def test_code_is_refused_with_any_letter_changed(self) -> None:
        code = codes.sign("K7QM2X9DR4TV", session=TONIGHT)
        for place, letter in enumerate(code):
            for other in {"0", "Z", LETTERS[(LETTERS.find(letter) + 1) % 32]} - {letter}:
                with pytest.raises((ForgedCode, UnknownCode)):
                    codes.read(code[:place] + other + code[place + 1 :])

    @pytest.mark.parametrize("cut", [13, 30, 132])
    def test_code_is_refused_with_its_end_missing(self, cut: int) -> None:
        with pytest.raises(ForgedCode):
            codes.read(codes.sign("K7QM2X9DR4TV", session=TONIGHT)[:cut])

    @pytest.mark.parametrize("nonsense", ["", "A1", "5901234123457!", "https://evil.example/", "é" * 12, "x" * 5000])
    def test_code_is_told_from_what_never_was_one(self, nonsense: str) -> None:
        with pytest.raises(UnknownCode):
            codes.read(nonsense)


class TestKeys:
    def test_keys_are_published_and_verify_without_us(self, client: Client) -> None:
        answer = client.get("/.well-known/frontrow-tickets.json")
        published = answer.json()
        (key,) = published["keys"]
        assert published["signing"] == key["kid"]
        assert answer["Access-Control-Allow-Origin"] == "*"
        assert "d" not in key
        signed, _dot, signature = codes.sign("K7QM2X9DR4TV", session=TONIGHT).rpartition(".")
        rfc4648 = signature.translate(codes.FROM_CROCKFORD) + "="
        x = base64.urlsafe_b64decode(key["x"] + "=")
        Ed25519PublicKey.from_public_bytes(x).verify(base64.b32decode(rfc4648), b"frontrow ticket:" + signed.encode())

    def test_keys_that_signed_before_open_doors_still(self, settings: Any, client: Client) -> None:
        old, new = b"o" * 32, b"n" * 32
        settings.TICKET_SIGNING_KEY = old
        printed = codes.sign("K7QM2X9DR4TV", session=TONIGHT)
        settings.TICKET_SIGNING_KEY = new
        with pytest.raises(ForgedCode):
            codes.read(printed)
        settings.TICKET_PUBLIC_KEYS = [public_half(old)]
        assert codes.read(printed) == "K7QM2X9DR4TV"
        assert codes.sign("K7QM2X9DR4TV", session=TONIGHT) != printed
        published = client.get("/.well-known/frontrow-tickets.json").json()
        assert [key["kid"] == published["signing"] for key in published["keys"]] == [True, False]

    def test_keys_of_another_house_sign_nothing_here(self, settings: Any) -> None:
        settings.SECRET_KEY = "another house's secret, of which nobody here knows"
        theirs = codes.sign("K7QM2X9DR4TV", session=TONIGHT)
        settings.SECRET_KEY = "ours"
        with pytest.raises(ForgedCode):
            codes.read(theirs)

    def test_keys_that_are_not_keys_stop_the_start_and_are_not_told(self) -> None:
        started = subprocess.run(
            [sys.executable, "-c", "import config.settings"],
            env={"TICKET_SIGNING_KEY": "tooshortasecret"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "TICKET_SIGNING_KEY must be 32 bytes in base64" in started.stderr
        assert "tooshortasecret" not in started.stderr
