"""The address that asks, which nobody can forge."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@cache
def _networks(trusted: tuple[str, ...]) -> Sequence[Network]:
    return [ipaddress.ip_network(item, strict=False) for item in trusted]


def is_trusted(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


def client_ip(request: HttpRequest) -> str:
    return behind(str(request.META.get("REMOTE_ADDR") or ""), request.headers.get("X-Forwarded-For", ""))


def behind(address: str, forwarded: str) -> str:
    """Who asks through `address`. `X-Forwarded-For` counts only as far as trusted proxies wrote it, read from the near end."""
    for hop in reversed(forwarded.split(",")):
        before = _bare(hop)
        if not before or not is_trusted(address):
            break
        address = before
    return address


def _bare(hop: str) -> str:
    """The address of `1.2.3.4`, `1.2.3.4:5678`, `[::1]:5678` or `::1`; empty for anything else."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9A-Fa-f:.]+)", hop.strip())
    candidate = next((part for part in found.groups() if part), "") if found else ""
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return ""


def name_in_log(username: str, ip_address: str, user_agent: str, path_info: str, request: HttpRequest) -> str:
    """How django-axes calls a guesser in the log: the same each time, and nobody's name or address."""
    mark = salted_hmac("config.addresses.name_in_log", f"{username} {ip_address}").hexdigest()[:12]
    return f"guesser {mark}"
