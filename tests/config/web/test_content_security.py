from __future__ import annotations

from django.test import Client
from pytest_django.fixtures import Settings


def policy(client: Client, path: str) -> str:
    return str(client.get(path).headers["Content-Security-Policy"])


class TestContentSecurity:
    def test_policy_lets_the_admins_scripts_evaluate_its_attributes(self, client: Client, db: None) -> None:
        assert "script-src 'self' 'unsafe-eval'" in policy(client, "/admin/login/")

    def test_policy_lets_no_other_page_do_so(self, client: Client, db: None) -> None:
        for path in ("/", "/api/v1/shows", "/administration"):
            assert "unsafe" not in policy(client, path)

    def test_no_site_may_frame_the_admin(self, client: Client, db: None) -> None:
        assert "frame-ancestors 'none'" in policy(client, "/admin/login/")

    def test_policy_allows_only_stripe_and_only_if_it_is_on(self, client: Client, db: None, settings: Settings) -> None:
        assert "stripe" not in policy(client, "/")
        settings.PAYMENT_METHODS = ["stripe"]
        said = dict(one.strip().split(" ", 1) for one in policy(client, "/").split(";"))
        hosts = {name: [word for word in words.split() if "://" in word] for name, words in said.items()}
        assert {name: found for name, found in hosts.items() if found} == {
            "script-src": ["https://js.stripe.com"],
            "frame-src": ["https://js.stripe.com", "https://hooks.stripe.com"],
            "connect-src": ["https://api.stripe.com"],
        }
        assert "stripe" not in policy(client, "/admin/login/")
