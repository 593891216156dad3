"""Find the network address that a request comes from; a client cannot forge it."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_answered: ContextVar[HttpRequest | None] = ContextVar("answered", default=None)


@cache
def _networks(listed: tuple[str, ...]) -> Sequence[Network]:
    return [ipaddress.ip_network(item, strict=False) for item in listed]


def is_trusted(address: str) -> bool:
    """Tell whether the address belongs to a proxy whose `X-Forwarded-For` is believed."""
    return is_in(address, settings.TRUSTED_PROXIES)


def is_in(address: str, networks: Sequence[str]) -> bool:
    """Tell whether the address lies in one of the networks."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(tuple(networks)))


def client_ip(request: HttpRequest) -> str:
    return behind(str(request.META.get("REMOTE_ADDR") or ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def network_of_request(request: HttpRequest) -> str:
    """Return the network under which limits count this request. See `network_of`."""
    return network_of(client_ip(request))


@contextmanager
def answering(request: HttpRequest) -> Iterator[None]:
    """Make `current_network` return this request's network while the block runs."""
    outer = _answered.set(request)
    try:
        yield
    finally:
        _answered.reset(outer)


def current_network() -> str:
    """Return the network under which limits count the request of this thread; empty if the thread answers none."""
    request = _answered.get()
    return network_of_request(request) if request is not None else ""


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """Return the network under which limits count an address: an IPv4 address itself, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False).network_address)
    except ValueError:
        return address


def peer_of(address: str) -> str:
    """Return the key under which connections are counted: a trusted proxy by itself, any other peer by `network_of`."""
    address = _bare(address) or address
    return address if is_trusted(address) else network_of(address)


def behind(address: str, forwarded: str) -> str:
    """Return the client's address. Read `X-Forwarded-For` from the end, only as far as trusted proxies wrote it."""
    if ":" in address:
        address = _bare(address) or address
    if not forwarded:
        return address
    for hop in reversed(forwarded.split(",")):
        before = _bare(hop)
        if not before or not is_trusted(address):
            break
        address = before
    return address


def _bare(hop: str) -> str:
    """Return the address of `1.2.3.4`, `1.2.3.4:5678`, `[::1]:5678`, `::1` or `::ffff:1.2.3.4`; else nothing."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9A-Fa-f:.]+)", hop.strip())
    candidate = next((part for part in found.groups() if part), "") if found else ""
    try:
        parsed = ipaddress.ip_address(candidate)
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def name_in_log(username: str, ip_address: str, user_agent: str, path_info: str, request: HttpRequest) -> str:
    """Return the name of a guesser in the log of django-axes: always the same, without a person's name or address."""
    mark = salted_hmac("base.addresses.name_in_log", f"{username} {ip_address}").hexdigest()[:12]
    return f"guesser {mark}"


def name_for_guesses(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the name by which django-axes counts guesses. Every spelling of a user name gives the same name."""
    said = credentials or request.POST
    return unicodedata.normalize("NFKC", str(said.get("username") or "")).strip().casefold()
