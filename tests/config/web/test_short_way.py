"""Check that the short way gives the same answer as the long one, byte for byte."""

from __future__ import annotations

import datetime as dt
import gc
import io
import json
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from prometheus_client import REGISTRY

from base.asking import Buyer
from config import wsgi
from config.web import short_way, throttles
from reservations.admission import entries, front_door
from reservations.queueing import liveness, queues
from reservations.refusals import SeatsUnavailable
from sessions_app.models import Session
from tests.factories import SessionFactory, StockFactory
from ticketing import identity

pytestmark = pytest.mark.django_db(transaction=True)

OF_ITS_OWN = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<="arrival":)\d+|(?<=_at":")[^"]+')
HOLDS, ORDERS = "/api/v1/reservations", "/api/v1/orders"


def token(buyer: uuid.UUID | None = None) -> str:
    return identity.issue_tokens(Buyer(id=buyer or uuid.uuid4(), is_guest=True))["access"]


@dataclass(frozen=True)
class Answer:
    status: str
    headers: dict[str, str]
    body: str


@dataclass
class Ask:
    """Describe a request as a server passes it on; `headers` are WSGI's."""

    body: Any
    path: str = HOLDS
    access: str = field(default_factory=token)
    headers: dict[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, Any]:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": self.path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "203.0.113.7",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_HOST": "testserver",
            **({"HTTP_AUTHORIZATION": f"Bearer {self.access}"} if self.access else {}),
            "wsgi.input": io.BytesIO(content),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            **self.headers,
        }


def told(application: Callable[..., Any], environ: dict[str, Any]) -> Answer:
    """Return an answer in which the parts that always differ are made equal."""
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(application(environ, lambda status, headers, *_more: heads.append((status, headers)))).decode()
    status, fields = heads[0]
    headers = {name.lower(): OF_ITS_OWN.sub("…", value) for name, value in fields}
    assert headers.pop("content-length", "") in {"", str(len(body.encode()))}
    return Answer(status, headers, OF_ITS_OWN.sub("…", body))


def counted() -> dict[Any, float]:
    """Count requests by view, method and status."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name in {"frontrow_requests_total", "frontrow_request_seconds_count"}
    }


def new(before: dict[Any, float]) -> dict[Any, float]:
    return {key: value - before.get(key, 0) for key, value in counted().items() if value != before.get(key, 0)}


def compared(long: list[Ask], short: list[Ask]) -> Answer:
    """Return the last answer of both ways to equal requests, after checking that one was short."""
    ways = []
    for asks, application in ((long, wsgi.django), (short, wsgi.application)):
        before = counted()
        answers = [told(application, ask.environ()) for ask in asks]
        ways.append((answers, new(before)))
    assert ways[0] == ways[1]
    return ways[1][0][-1]


@pytest.fixture
def went_short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    ways: list[bool] = []
    real = short_way.answer

    def noted(environ: dict[str, Any]) -> Any:
        answer = real(environ)
        ways.append(answer is not None)
        return answer

    monkeypatch.setattr(short_way, "answer", noted)
    return ways


def fail(*_asked: Any, **_how: Any) -> None:
    raise ZeroDivisionError


class Marking:
    """Write the view's name into a header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["X-Mark"] = getattr(request, "mark", "")
        return response

    def process_view(self, request: HttpRequest, *_view: Any) -> None:
        assert request.resolver_match is not None
        request.mark = request.resolver_match.view_name  # type: ignore[attr-defined] # its own


class Failing(Marking):
    def __call__(self, _request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError


class Unused(Marking):
    def __init__(self, _get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        raise MiddlewareNotUsed


class AnsweringBeforeViews(Marking):
    def process_view(self, *_asked: Any) -> HttpResponse:  # type: ignore[override] # a hook may answer
        return HttpResponse("before")


class AnsweringErrors(Marking):
    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse:
        return HttpResponse(type(error).__name__)


def seats(session: Session, *labels: str, **more: Any) -> Ask:
    return Ask({"session": str(session.pk), "seats": list(labels)}, **more)


SECRET = "s" * 32


def by_cookie(one: Ask, *, buyer: uuid.UUID | None = None, sends: str = SECRET) -> Ask:
    """Send it as a browser does: the signed cookie, and the CSRF token of its other cookie."""
    response = HttpResponse()
    identity.write_cookie(response, Buyer(id=buyer or uuid.uuid4(), is_guest=True))
    cookies = f"buyer={response.cookies['buyer'].value}; csrftoken={SECRET}; theme=dark"
    one.access = ""
    one.headers = one.headers | {"HTTP_COOKIE": cookies, "HTTP_X_CSRFTOKEN": sends}
    return one


def order(session: Session, **headers: str) -> Ask:
    body = {"session": str(session.pk), "seats": ["A1"], "payment": {"method": "fake", "token": "ok"}}
    return Ask(body, path=ORDERS, headers={"HTTP_IDEMPOTENCY_KEY": uuid.uuid4().hex, **headers})


class TestTheShortWay:
    @pytest.fixture(autouse=True)
    def _twins(self, transactional_db: None, went_short: list[bool]) -> None:
        self.one, self.other = SessionFactory.create(), SessionFactory.create()
        self.went_short = went_short

    def same(self, asks: Callable[[Session], list[Ask]]) -> Answer:
        answer = compared(asks(self.one), asks(self.other))
        assert all(self.went_short)
        assert self.went_short
        return answer

    def test_short_way_takes_holds(self) -> None:
        assert self.same(lambda session: [seats(session, "A1", "A2")]).status == "202 Accepted"

    def test_short_way_takes_orders(self) -> None:
        assert self.same(lambda session: [order(session)]).status == "202 Accepted"

    def test_short_way_takes_holds_of_a_browser(self) -> None:
        assert self.same(lambda session: [by_cookie(seats(session, "A1"))]).status == "202 Accepted"

    def test_short_way_takes_orders_of_a_browser(self) -> None:
        assert self.same(lambda session: [by_cookie(order(session))]).status == "202 Accepted"

    def test_short_way_tells_a_browser_that_it_lost(self) -> None:
        answer = self.same(lambda session: [by_cookie(seats(session, "A1")) for _buyer in range(2)])
        assert answer.status == "409 Conflict"

    def test_short_way_waits_for_the_outcome_of_a_browser(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(liveness, "is_alive", lambda _name: True)
        answer = self.same(lambda session: [by_cookie(seats(session, "A1", headers={"HTTP_PREFER": "wait=5"}))])
        assert answer.status == "201 Created"

    def test_short_way_tells_the_loser(self) -> None:
        answer = self.same(lambda session: [seats(session, "A1"), seats(session, "A1", "B1")])
        assert answer.headers["content-type"] == "application/problem+json"
        assert json.loads(answer.body)["conflicts"] == [{"seat": "A1", "reason": "held"}]

    def test_short_way_tells_that_it_is_sold_out(self) -> None:
        kinds = {session.pk: StockFactory.create(session=session, capacity=1) for session in (self.one, self.other)}

        def asks(session: Session) -> list[Ask]:
            body = {"session": str(session.pk), "ticket_type": str(kinds[session.pk].pk), "quantity": 1}
            return [Ask(body), Ask(body)]

        assert json.loads(self.same(asks).body)["code"] == "sold_out"

    def test_short_way_tells_what_only_the_facts_know(self) -> None:
        assert json.loads(self.same(lambda session: [seats(session, "Z99")]).body)["code"] == "unknown_seat"

    def test_short_way_gives_a_keys_first_answer_again_and_no_other(self) -> None:
        def asks(session: Session) -> list[Ask]:
            key = {"HTTP_IDEMPOTENCY_KEY": '"once"'}
            one = seats(session, "A1", headers=key)
            return [one, one, seats(session, "A2", access=one.access, headers=key)]

        assert self.same(asks).status.startswith("422")

    def test_short_way_waits_for_the_outcome(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(liveness, "is_alive", lambda _part: True)
        answer = self.same(lambda session: [seats(session, "A1", headers={"HTTP_PREFER": "wait=5"})])
        assert (answer.status, answer.headers["preference-applied"]) == ("201 Created", "wait=5")

    def test_short_way_speaks_the_client_s_language(self) -> None:
        answer = self.same(lambda session: [order(session, HTTP_ACCEPT_LANGUAGE="pt-BR,pt;q=0.9")])
        assert answer.headers["content-language"] == "pt-br"

    def test_short_way_keeps_the_id_of_the_request(self) -> None:
        answer = self.same(lambda session: [order(session, HTTP_X_REQUEST_ID="mine")])
        assert answer.headers["x-request-id"] == "mine"

    def test_short_way_answers_other_origins(self, settings: LazySettings) -> None:
        settings.CORS_ALLOWED_ORIGINS = ["https://tickets.example"]
        answer = self.same(lambda session: [order(session, HTTP_ORIGIN="https://tickets.example")])
        assert answer.headers["access-control-allow-origin"] == "https://tickets.example"

    def test_short_way_takes_from_the_same_limits(self, settings: LazySettings) -> None:
        settings.RATE_LIMITS = True
        settings.LIMITS = {**settings.LIMITS, "write": {"address": (1000, 1000), "buyer": (0.01, 1)}}

        def asks(session: Session) -> list[Ask]:
            one = seats(session, "A1")
            return [one, seats(session, "A2", access=one.access)]

        assert self.same(asks).status.startswith("429")

    def test_short_way_says_that_nothing_can_be_accepted(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def down(*_asked: Any, **_how: Any) -> None:
            raise queues.QueueDown("away")

        monkeypatch.setattr(front_door, "admit", down)
        answer = self.same(lambda session: [seats(session, "A1")])
        assert (answer.status, answer.headers["retry-after"]) == ("503 Service Unavailable", "1")
        said = [(record.name, record.levelname) for record in caplog.records]
        assert said[: len(said) // 2] == said[len(said) // 2 :]

    def test_short_way_passes_all_middleware_that_has_something_to_do_there(self, settings: LazySettings) -> None:
        nothing_to_do = {"ProbesMiddleware", "WhiteNoiseMiddleware", "IdempotencyMiddleware"}
        named = [name.rpartition(".") for name in settings.MIDDLEWARE]
        passed: list[tuple[str, str]] = []
        here: Any = short_way.way().first
        while hasattr(here, "get_response"):
            passed.append((type(here).__module__, type(here).__name__))
            here = here.get_response
        assert passed == [
            (module, name) for module, _dot, name in named if module != "config.web.pages" and name not in nothing_to_do
        ]

    def test_short_way_answers_an_unexpected_error_with_500(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(front_door, "admit", fail)
        answer = self.same(lambda session: [seats(session, "A1")])
        assert json.loads(answer.body)["code"] == "internal"


class TestMiddlewareThatIsNewToTheSettings:
    """Check middleware that is new to the settings: it takes part on both ways, at any place."""

    @pytest.fixture(autouse=True)
    def _twins(self, transactional_db: None, went_short: list[bool]) -> Iterator[None]:
        self.one, self.other, self.went_short = SessionFactory.create(), SessionFactory.create(), went_short
        yield
        short_way.way.cache_clear()

    def answer_both_ways(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, *added: type, at: int | None = None
    ) -> Answer:
        names = list(settings.MIDDLEWARE)
        at = len(names) if at is None else at
        names[at:at] = [f"{kind.__module__}.{kind.__name__}" for kind in added]
        settings.MIDDLEWARE = names
        short_way.way.cache_clear()
        monkeypatch.setattr(wsgi, "django", WSGIHandler())
        answer = compared([seats(self.one, "A1")], [seats(self.other, "A1")])
        assert self.went_short == [True]
        return answer

    @pytest.mark.parametrize("at", [0, 2, None])
    def test_new_middleware_marks_the_answer(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, at: int | None
    ) -> None:
        answer = self.answer_both_ways(settings, monkeypatch, Marking, at=at)
        assert (answer.status, answer.headers["x-mark"]) == ("202 Accepted", "api-reservations")

    def test_new_middleware_stays_out_if_it_is_not_used(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = self.answer_both_ways(settings, monkeypatch, Unused, Marking)
        assert answer.headers["x-mark"]

    def test_new_middleware_answers_before_the_view(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = self.answer_both_ways(settings, monkeypatch, Marking, AnsweringBeforeViews)
        assert (answer.status, answer.body) == ("200 OK", "before")

    def test_new_middleware_answers_for_an_error_of_the_view(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(front_door, "admit", fail)
        answer = self.answer_both_ways(settings, monkeypatch, AnsweringErrors)
        assert (answer.status, answer.body) == ("200 OK", "ZeroDivisionError")

    @pytest.mark.parametrize("at", [0, 1, None])
    def test_new_middleware_fails_as_in_django(
        self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, at: int | None
    ) -> None:
        answer = self.answer_both_ways(settings, monkeypatch, Failing, at=at)
        assert (answer.status[:3], json.loads(answer.body)["code"]) == ("500", "internal")


class TestTheLongWay:
    """Check all other requests: the long way still finds what the short way read."""

    @pytest.mark.parametrize(
        "odd",
        [
            pytest.param({"access": "nonsense"}, id="a bad token"),
            pytest.param({"body": b"{"}, id="no JSON"),
            pytest.param({"body": {}}, id="asks nothing"),
            pytest.param({"body": {"seats": [" A1 "]}}, id="a label with spaces"),
            pytest.param({"headers": {"CONTENT_TYPE": "text/plain"}}, id="another type"),
            pytest.param({"headers": {"HTTP_AUTHORIZATION": "Basic Og=="}}, id="another scheme"),
            pytest.param({"headers": {"HTTP_HOST": "evil example"}}, id="a host that can't be"),
            pytest.param({"headers": {"HTTP_IDEMPOTENCY_KEY": "two words"}}, id="a key that can't be"),
            pytest.param({"path": ORDERS}, id="an order without a key"),
            pytest.param({"path": ORDERS, "body": {"ticket_type": str(uuid.uuid4()), "quantity": 1}}, id="of no type"),
            pytest.param({"path": "/api/v1/orders/"}, id="a slash too many"),
            pytest.param({"headers": {"QUERY_STRING": "format=json"}}, id="a query"),
            pytest.param({"headers": {"REQUEST_METHOD": "PUT"}}, id="another method"),
        ],
    )
    def test_long_way_is_for_odd_requests(self, session: Session, went_short: list[bool], odd: dict[str, Any]) -> None:
        def ask() -> Ask:
            one = seats(session, "A1")
            for name, value in odd.items():
                plain = name == "body" and isinstance(value, dict) and value and "path" not in odd
                setattr(one, name, {**one.body, **value} if plain else value)
            return one

        long = told(wsgi.django, ask().environ())
        assert told(wsgi.application, ask().environ()).status == (
            long.status if long.status[0] != "2" else "409 Conflict"  # the first one has the seat
        )
        assert went_short == [False]

    def test_long_way_is_for_requests_of_no_buyer(self, session: Session, went_short: list[bool]) -> None:
        environ = seats(session, "A1").environ()
        del environ["HTTP_AUTHORIZATION"]
        assert told(wsgi.application, environ).status.startswith("401")
        assert went_short == [False]

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            pytest.param({"HTTP_X_CSRFTOKEN": "n" * 32}, "403", id="another token"),
            pytest.param({"HTTP_X_CSRFTOKEN": ""}, "403", id="no token"),
            pytest.param({"HTTP_ORIGIN": "https://elsewhere.example"}, "403", id="another origin"),
            pytest.param({"HTTP_COOKIE": f"buyer=forged; csrftoken={SECRET}"}, "401", id="a forged cookie"),
            pytest.param({"HTTP_COOKIE": f"csrftoken={SECRET}"}, "401", id="no buyer"),
            pytest.param({"HTTP_FRONTROW_BUYER": str(uuid.uuid4())}, "409", id="another person's page"),
        ],
    )
    def test_long_way_refuses_a_browser_that_cannot_be_trusted(
        self, session: Session, went_short: list[bool], change: dict[str, str], status: str
    ) -> None:
        ask = by_cookie(seats(session, "A1"))
        ask.headers |= change
        long = told(wsgi.django, ask.environ())
        assert told(wsgi.application, ask.environ()) == long
        assert long.status.startswith(status)
        assert went_short == [False]

    def test_long_way_is_for_an_expired_token(
        self, session: Session, settings: LazySettings, went_short: list[bool]
    ) -> None:
        settings.JWT_ACCESS_SECONDS = -dt.timedelta(minutes=1).total_seconds()
        assert told(wsgi.application, seats(session, "A1").environ()).status.startswith("401")
        assert went_short == [False]

    def test_long_way_leaves_no_limit_touched_twice(
        self, session: Session, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.RATE_LIMITS = True
        taken: list[int] = []

        def take(buckets: list[throttles.Bucket]) -> float:
            taken.append(len(buckets))
            return 0.0

        monkeypatch.setattr(throttles, "take", take)
        told(wsgi.application, Ask({}).environ())
        assert taken == [2]


class TestARefusal:
    def test_refusal_leaves_nothing_for_the_garbage_collector(self, session: Session) -> None:
        """Check that no traceback refers to the error, because it would name the frames that hold it."""
        told(wsgi.application, seats(session, "A1").environ())
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            assert told(wsgi.application, seats(session, "A1").environ()).status.startswith("409")
            gc.collect()
            assert not [left for left in gc.garbage if isinstance(left, entries.Entry | SeatsUnavailable)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
