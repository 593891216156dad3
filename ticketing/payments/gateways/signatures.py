"""Sign webhooks as Stripe does: `t=<seconds>,v1=<hex>`, HMAC-SHA256 over `<seconds>.<body>`."""

from __future__ import annotations

import hashlib
import hmac
import re

from base.clock import db_now
from ticketing.refusals import UnsignedWebhook

WINDOW_SECONDS = 300
WELL_FORMED = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")


def require_secret(secret: bytes) -> None:
    """Refuse an empty secret, because anyone can sign with it. Raises: UnsignedWebhook."""
    if not secret.strip():
        raise UnsignedWebhook("no secret is set")


def sign(body: bytes, *, secret: bytes, at: float) -> str:
    """Sign a body. Raises: UnsignedWebhook, with an empty secret."""
    require_secret(secret)
    return f"t={int(at)},v1={_digest(body, secret, int(at))}"


def verify(body: bytes, header: str, *, secret: bytes) -> None:
    """Verify the signature over the bytes as they came. Raises: UnsignedWebhook; always with an empty secret."""
    require_secret(secret)
    found = WELL_FORMED.fullmatch(header)
    if found is None:
        raise UnsignedWebhook("no signature")
    at = int(found[1])
    if not hmac.compare_digest(_digest(body, secret, at), found[2]):
        raise UnsignedWebhook("another signature")
    require_recent(at)


def require_recent(at: int) -> None:
    """Refuse an old signature by the database's clock: this process's may be off. Raises: UnsignedWebhook."""
    if abs(db_now().timestamp() - at) > WINDOW_SECONDS:
        raise UnsignedWebhook("too old")


def signed_at(header: str) -> int:
    """Return the time in a well-formed header, which the signature covers."""
    items = (item.partition("=") for item in header.split(","))
    return int(next(value for name, _sep, value in items if name == "t"))


def _digest(body: bytes, secret: bytes, at: int) -> str:
    return hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
