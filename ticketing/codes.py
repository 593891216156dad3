"""Make the code on a ticket: a short code that cannot be guessed, and a signature for gates without a connection.

    K7QM2X9DR4TV.H3J0ZZ81M5Q2WXYK.5N…
    short code   key, session     Ed25519 over the text before the second dot

All of it is Crockford's base 32, which a QR code packs tightly and a person can type. The short code names the ticket.
A transferred ticket gets another one, so the signature on the old code proves nothing any more. The session's part is
the last bytes of its id, the random ones of a UUIDv7. The first bytes of a key's hash name the key.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.utils.crypto import salted_hmac

from ticketing.refusals import ForgedCode, UnknownCode

PURPOSE = b"frontrow ticket:"  # prevents that a signature for something else passes on a ticket
KEY_ID_BYTES, SESSION_BYTES, SEED_BYTES = 4, 6, 32
SHORT = r"[0-9A-HJKMNP-TV-Z]{12,26}"  # older tickets have 26
SIGNED = re.compile(
    rf"(?P<short>{SHORT})\.(?P<facts>[0-9A-HJKMNP-TV-Z]{{16}})\.(?P<signature>[0-9A-HJKMNP-TV-Z]{{103}})"
)
TO_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
FROM_CROCKFORD = str.maketrans("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
AS_READ = str.maketrans("OIL", "011", " \t\r\n-")  # letters that people confuse, and separators that they type


@dataclass(frozen=True)
class Keys:
    signing: Ed25519PrivateKey
    public: dict[str, Ed25519PublicKey]  # by key id; the signing key's own comes first


def sign(short: str, *, session: uuid.UUID) -> str:
    """Return the code to scan. The same ticket and key give the same code each time."""
    keys = our_keys()
    facts = _base32(bytes.fromhex(next(iter(keys.public))) + session.bytes[-SESSION_BYTES:])
    return f"{short}.{facts}.{_base32(keys.signing.sign(PURPOSE + f'{short}.{facts}'.encode()))}"


def read(text: str) -> str:
    """Return the short code of scanned or typed text; a signature must be ours. Raises: UnknownCode, ForgedCode."""
    plain = text.upper().translate(AS_READ)
    if re.fullmatch(SHORT, plain):
        return plain
    if not re.match(rf"{SHORT}\.", plain):
        raise UnknownCode
    found = SIGNED.fullmatch(plain)
    if found is None:
        raise ForgedCode
    key = our_keys().public.get(_bytes(found["facts"])[:KEY_ID_BYTES].hex())
    signature = _bytes(found["signature"])
    if key is None or _base32(signature) != found["signature"]:  # its last letter has spare bits
        raise ForgedCode
    try:
        key.verify(signature, PURPOSE + f"{found['short']}.{found['facts']}".encode())
    except InvalidSignature:
        raise ForgedCode from None
    return found["short"]


def digest(short: str) -> str:
    """Return the name of a code in a gate's list, so that a stolen list opens no door."""
    return hashlib.sha256(PURPOSE + short.encode()).hexdigest()[:24]


class PublishedKeys(TypedDict):
    """A JSON Web Key set, with the name of the key that signs."""

    signing: str
    keys: list[dict[str, str]]


def published() -> PublishedKeys:
    """Return the public keys as a JSON Web Key set; `signing` names the key for new codes."""
    keys = our_keys().public
    return {
        "signing": next(iter(keys)),
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": name, "x": _x(key)}
            for name, key in keys.items()
        ],
    }


def our_keys() -> Keys:
    return _keys(settings.TICKET_SIGNING_KEY, tuple(settings.TICKET_PUBLIC_KEYS), settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _keys(seed: bytes, earlier: tuple[bytes, ...], secret: str) -> Keys:
    made_of_the_secret = salted_hmac("ticketing.codes", secret, algorithm="sha512").digest()[:SEED_BYTES]
    signing = Ed25519PrivateKey.from_private_bytes(seed or made_of_the_secret)
    public = [signing.public_key(), *map(Ed25519PublicKey.from_public_bytes, earlier)]
    return Keys(signing, {_key_id(key): key for key in public})


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[: KEY_ID_BYTES * 2]


def _x(key: Ed25519PublicKey) -> str:
    return base64.urlsafe_b64encode(key.public_bytes_raw()).rstrip(b"=").decode()


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").translate(TO_CROCKFORD)


def _bytes(text: str) -> bytes:
    plain = text.translate(FROM_CROCKFORD)
    return base64.b32decode(plain + "=" * (-len(plain) % 8))
