"""Check that nothing in a process grows with what clients send, or with time."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from prometheus_client.metrics import MetricWrapperBase

from base.bounded import Bounded
from base.breaker import BreakerOpen
from config.web import throttles
from reservations import metrics
from reservations.admission import sale_facts
from reservations.admission.floors import Floors
from reservations.claims import pace
from reservations.refusals import UnknownSession
from sessions_app.models import Session
from tests.api import client_of, get, post

OURS = ("config", "ticketing", "reservations", "sessions_app", "realtime", "base")
BOUND = 50_000  # most entries of anything that is bounded
WARM, MORE = 3, 12
FEW = 6  # late additions that are not growth; fewer than MORE

containers = (dict, set, list, deque)


# --- What a process keeps


def kept() -> dict[str, int]:
    """Return the size of everything that outlives a request: in our modules, and in the objects in them."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in OURS and isinstance(module, types.ModuleType):
            for attribute, value in list(vars(module).items()):
                found |= dict(sizes(f"{name}.{attribute}", value, seen))
    return found


def sizes(name: str, value: Any, seen: set[int], depth: int = 0) -> Iterator[tuple[str, int]]:
    if id(value) in seen or depth > 4 or isinstance(value, type | types.ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, Bounded):
        assert value.most <= BOUND, name
    elif isinstance(value, containers):
        yield name, len(value)
        if isinstance(value, dict) and len(value) < 200:
            for key, inner in list(value.items()):
                yield from sizes(f"{name}[{key!r}]", inner, seen, depth + 1)
    elif isinstance(value, MetricWrapperBase):
        yield f"{name} labels", len(getattr(value, "_metrics", ()))
    elif isinstance(value, functools._lru_cache_wrapper):  # noqa: SLF001 the type has no public name
        info = value.cache_info()
        if info.maxsize is None or info.maxsize > BOUND:
            yield f"{name} cached", info.currsize
        for made in values_of(value):
            yield from sizes(f"{name}()", made, seen, depth + 1)
    elif type(value).__module__.split(".")[0] in OURS:
        for attribute, inner in attributes_of(value):
            yield from sizes(f"{name}.{attribute}", inner, seen, depth + 1)


def values_of(cached: Any) -> list[Any]:
    """Return what a cache without arguments holds, such as the front door of this process."""
    wrapped = cached.__wrapped__
    return [cached()] if cached.cache_info().currsize and not inspect.signature(wrapped).parameters else []


def attributes_of(value: Any) -> list[tuple[str, Any]]:
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    return [*vars(value).items()] if hasattr(value, "__dict__") else [(name, getattr(value, name)) for name in slots]


# --- What clients send


def new() -> str:
    return str(uuid.uuid4())


def send_everything_unknown(session: Session) -> None:
    """Send one round of requests in which every value is new to the process."""
    api, page = client_of(uuid.uuid4()), Client(raise_request_exception=False)
    address = f"198.51.100.{uuid.uuid4().int % 250}"
    known = str(session.pk)
    for path, body in (
        ("/reservations", {"session": new(), "seats": ["A1"]}),
        ("/reservations", {"session": known, "seats": [new()]}),
        ("/reservations", {"session": known, "ticket_type": new(), "quantity": 1}),
        ("/reservations", {"session": known, "seats": ["A1"], "voucher": new()[:20]}),
        ("/reservations", {"session": known, "seats": ["A1"], "lane_code": new()}),
        ("/reservations", {"session": known, "seats": ["A1"], new(): 1}),
        ("/orders", {"ticket_type": new(), "quantity": 1, "payment": {"method": "fake", "token": "ok"}}),
        ("/orders", {"session": known, "seats": ["A1"], "payment": {"method": new(), "token": new()}}),
        (f"/reservations/{new()}/pay", {"payment": {"method": "fake", "token": new()}}),
        (f"/reservations/{new()}/extend", {}),
        (f"/sales/{new()}/refund", {}),
        ("/checkins", {"code": new()}),
        (f"/webhooks/{new()}", {}),
        ("/auth/token/refresh", {"refresh": new()}),
        (f"/{new()}", {}),
    ):
        post(
            api, path, body, idempotency_key=new(), accept_language=new()[:2], x_request_id=new(), x_forwarded_for=new()
        )
    for path in (
        "/sessions/{}",
        "/sessions/{}/seats",
        "/reservations/{}",
        "/orders/{}",
        "/sales/{}",
        "/tickets/{}",
        "/{}",
    ):
        get(api, path.format(new()), **{new(): new()})
    api.generic(f"X{uuid.uuid4().hex[:8].upper()}", "/api/v1/sessions")
    for path in ("/sessions/{}", "/orders/{}", "/{}"):
        page.get(
            path.format(new()), {new(): new()}, headers={"user-agent": new(), "host": "testserver"}, REMOTE_ADDR=address
        )
    page.post("/sign-in", {"username": new(), "password": new()}, REMOTE_ADDR=address)
    page.cookies["buyer"] = new()
    page.get("/", {"search": new()})


@pytest.mark.parametrize("redis", ["there", "away"])
def test_nothing_grows_with_what_clients_send(
    session: Session, redis: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    if redis == "away":
        monkeypatch.setattr(throttles, "_take_shared", away)
    for _round in range(WARM):
        send_everything_unknown(session)
    before = kept()
    for _round in range(MORE):
        send_everything_unknown(session)
    after = kept()
    assert after.keys() & {"reservations.admission.sale_facts._reading", "reservations.claims.pace._told"}, (
        "nothing was looked at"
    )
    grown = {name: (before.get(name, 0), size) for name, size in after.items() if size - before.get(name, 0) > FEW}
    grown.pop("config.web.throttles._local._full_at", None)  # bounded itself, see below
    grown.pop("base.ids._chances", None)  # random numbers drawn ahead, at most `ids.AT_ONCE`
    assert not grown


def away(*_arguments: Any) -> float:
    raise BreakerOpen


# --- Bounded stores


def test_locks_of_unknown_sessions_are_released(transactional_db: None) -> None:
    for _id in range(50):
        with pytest.raises(UnknownSession):
            sale_facts.facts_of(uuid.uuid4())
    assert not sale_facts._reading  # noqa: SLF001


def test_bounded_dict_keeps_what_was_written_last() -> None:
    kept: Bounded[int, int] = Bounded(3)
    for number in (1, 2, 3, 1, 4):
        kept[number] = number
    assert list(kept) == [3, 1, 4]


def test_floor_that_was_pushed_out_counts_for_all_without_one() -> None:
    floors = Floors(most=2)
    names = [uuid.uuid4() for _session in range(4)]
    for name, floor in zip(names, (40, 10, 20, 30), strict=True):
        floors[name] = floor
    assert len(floors) == 2
    assert [floors.of(name) for name in names] == [40, 40, 20, 30]


def test_rates_that_are_over_leave_the_metrics(session: Session) -> None:
    Session.objects.update(admission_rate=5)
    pace.tell_the_rates()
    assert len(pace._told) == 1  # noqa: SLF001
    Session.objects.update(admission_rate=None)
    for _time in range(2):
        pace.tell_the_rates()
    assert not pace._told  # noqa: SLF001
    assert not [
        sample
        for metric in metrics.rates.collect()
        for sample in metric.samples
        if sample.labels["session"] == str(session.pk)
    ]
