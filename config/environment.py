"""Read settings from the environment. An empty value counts as unset, because compose files pass empty values."""

from __future__ import annotations

import base64
import os
import urllib.parse

from django.core.exceptions import ImproperlyConfigured


def env(name: str, default: str = "") -> str:
    """Return the variable, or `default` if it is unset or empty (compose files pass empty values)."""
    return os.environ.get(name, "").strip() or default


def env_int(name: str, default: int) -> int:
    try:
        return int(env(name) or default)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {env(name)!r}") from None


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env(name, default).split(",") if item.strip()]


def env_rate(name: str, default: str) -> tuple[float, int]:
    """Read a rate such as `5/60`: five a second, sixty at once."""
    try:
        rate, burst = (env(name) or default).split("/")
        if float(rate) > 0 and int(burst) > 0:
            return float(rate), int(burst)
    except ValueError:
        pass
    raise ImproperlyConfigured(f"{name} must read like 5/60 (five a second, sixty at once), not {env(name)!r}")


def key_bytes(name: str, value: str) -> bytes:
    """Decode an Ed25519 key's 32 bytes from base64, or nothing. Errors never show the value: it may be private."""
    try:
        key = base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_") + "=" * (-len(value) % 4))
    except ValueError:
        key = b"?"
    if len(key) not in {0, 32}:
        raise ImproperlyConfigured(f"{name} must be 32 bytes in base64")
    return key


def redis_database(url: str, number: int) -> str:
    """Return the URL of another numbered database of the same Redis, `number` after the one in `url`."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path.strip("/")
    base = int(path) if path.isdigit() else 0
    return urllib.parse.urlunsplit(parts._replace(path=f"/{base + number}"))
