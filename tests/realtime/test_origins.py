import pytest
from pytest_django.fixtures import Settings

from realtime import origins


def scope(origin: str | None, *, host: str = "cine.example") -> origins.Scope:
    headers = [(b"host", host.encode())]
    return {"headers": [*headers, (b"origin", origin.encode())] if origin is not None else headers}


@pytest.fixture(autouse=True)
def _site(settings: Settings) -> None:
    settings.SITE_URL = "https://tickets.example"
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.cinema.example", "https://box.example:8443"]
    settings.CORS_ALLOWED_ORIGINS = ["https://partner.example"]


class TestIsOurs:
    @pytest.mark.parametrize(
        "origin",
        [
            "http://cine.example",
            "https://cine.example",
            "https://CINE.example",
            "https://tickets.example",
            "https://sala1.cinema.example",
            "https://box.example:8443",
        ],
    )
    def test_is_true_of_our_own_pages(self, origin: str) -> None:
        assert origins.is_ours(scope(origin))

    @pytest.mark.parametrize(
        "origin",
        [
            None,
            "",
            "null",
            "https://evil.example",
            "https://cine.example.evil.example",
            "https://evilcinema.example",
            "https://cine.example:8443",
            "http://tickets.example",
            "http://box.example:8443",
            "https://partner.example",
            "file://cine.example",
        ],
    )
    def test_is_false_of_a_strangers_page(self, origin: str | None) -> None:
        assert not origins.is_ours(scope(origin))

    def test_tells_ports_of_a_host_apart(self) -> None:
        assert origins.is_ours(scope("http://127.0.0.1:8000", host="127.0.0.1:8000"))
        assert not origins.is_ours(scope("http://127.0.0.1:9000", host="127.0.0.1:8000"))


class TestMayWatch:
    @pytest.mark.parametrize("origin", [None, "https://cine.example", "https://partner.example"])
    def test_lets_programs_our_pages_and_partners_in(self, origin: str | None) -> None:
        assert origins.may_watch(scope(origin))

    @pytest.mark.parametrize("origin", ["", "null", "https://evil.example", "https://partner.example.evil.example"])
    def test_keeps_other_sites_pages_out(self, origin: str) -> None:
        assert not origins.may_watch(scope(origin))
