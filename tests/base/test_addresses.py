"""Find the network address that a request comes from; a client cannot forge it."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.test import RequestFactory

from base.addresses import client_ip, network_of, peer_of


def seen(remote: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return client_ip(RequestFactory().get("/", REMOTE_ADDR=remote, headers=headers))


class TestClientIp:
    def test_client_ip_is_the_connecting_address(self) -> None:
        assert seen("203.0.113.9") == "203.0.113.9"

    def test_client_ip_ignores_headers_of_untrusted_senders(self) -> None:
        assert seen("203.0.113.9", "198.51.100.1") == "203.0.113.9"

    @pytest.mark.parametrize(
        ("forwarded", "address"),
        [
            ("198.51.100.1", "198.51.100.1"),
            ("1.1.1.1, 198.51.100.1", "198.51.100.1"),
            ("1.1.1.1, 198.51.100.1, 10.77.0.9", "198.51.100.1"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("nonsense", "10.77.0.2"),
            ("1.1.1.1, nonsense", "10.77.0.2"),
            ("", "10.77.0.2"),
        ],
    )
    def test_client_ip_believes_trusted_proxies_from_the_near_end(
        self, settings: LazySettings, forwarded: str, address: str
    ) -> None:
        settings.TRUSTED_PROXIES = ["10.77.0.0/24"]
        assert seen("10.77.0.2", forwarded) == address

    def test_client_ip_knows_ipv4_in_ipv6(self, settings: LazySettings) -> None:
        settings.TRUSTED_PROXIES = ["10.77.0.0/24"]
        assert seen("::ffff:203.0.113.9") == "203.0.113.9"
        assert seen("::ffff:10.77.0.2", "198.51.100.1") == "198.51.100.1"


class TestNetwork:
    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2::1", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("fe80::1%eth0", "fe80::"),
            ("", ""),
            ("no:address", "no:address"),
        ],
    )
    def test_network_of_ipv6_is_the_64(self, address: str, network: str) -> None:
        assert network_of(address) == network

    def test_network_of_a_peer_is_its_own_where_it_is_a_proxy(self, settings: LazySettings) -> None:
        settings.TRUSTED_PROXIES = ["2001:db8::5/128"]
        assert peer_of("2001:db8::5") == "2001:db8::5"
        assert peer_of("2001:db8::6") == "2001:db8::"
        assert peer_of("::ffff:203.0.113.9") == "203.0.113.9"
