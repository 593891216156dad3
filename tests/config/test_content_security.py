from __future__ import annotations

from django.test import Client


def policy(client: Client, path: str) -> str:
    return str(client.get(path).headers["Content-Security-Policy"])


class TestContentSecurity:
    def test_lets_the_admins_scripts_evaluate_its_attributes(self, client: Client, db: None) -> None:
        assert "script-src 'self' 'unsafe-eval'" in policy(client, "/admin/login/")

    def test_lets_no_other_page_do_so(self, client: Client, db: None) -> None:
        for path in ("/", "/api/v1/shows", "/administration"):
            assert "unsafe" not in policy(client, path)

    def test_is_framed_by_nobody_in_the_admin_either(self, client: Client, db: None) -> None:
        assert "frame-ancestors 'none'" in policy(client, "/admin/login/")
