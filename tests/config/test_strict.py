"""Check on every operation of the OpenAPI document that no input is silently ignored."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from base.strict import nearest
from config.web.openapi import views
from reservations.models import Reservation
from sessions_app.models import Session
from tests.api import assert_problem, client_of, post
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

Path = tuple[str | int, ...]
UNKNOWN = "zzz_nothing_like_it"
FREE_FORM = {"concessions", "prices"}  # objects whose names the client chooses


def operations(*, with_body: bool) -> list[tuple[str, str]]:
    """Return method and path of each operation, except webhooks, whose body is the gateway's."""
    return [
        (method, path)
        for path, methods in views.document()["paths"].items()
        for method, operation in methods.items()
        if ("requestBody" in operation or not with_body) and "/webhooks/" not in path
    ]


def body_schema(method: str, path: str) -> dict[str, Any]:
    media: dict[str, Any] = views.document()["paths"][path][method]["requestBody"]["content"]["application/json"]
    return media


def resolved(found: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in found:
        return resolved(views.document()["components"]["schemas"][found["$ref"].rpartition("/")[2]])
    if len(found.get("allOf", ())) == 1:
        return resolved(found["allOf"][0])
    for choice in found.get("oneOf", ()):
        if resolved(choice).get("type") == "object":
            return resolved(choice)
    return found


def objects_of(found: dict[str, Any], where: Path = ()) -> Iterator[tuple[Path, list[str]]]:
    """Yield each object that a body may hold, by its place, with the names of its fields."""
    found = resolved(found)
    if "items" in found:
        yield from objects_of(found["items"], (*where, 0))
    if "properties" in found:
        assert found["additionalProperties"] is False, where
        yield where, sorted(found["properties"])
        for name, inner in found["properties"].items():
            if name not in FREE_FORM:
                yield from objects_of(inner, (*where, name))


def places(body: Any, where: Path) -> Any:
    for step in where:
        body = body[step]
    return body


def has(body: Any, where: Path) -> bool:
    try:
        return isinstance(places(body, where), dict)
    except (LookupError, TypeError):
        return False


def example_with(method: str, path: str, where: Path) -> dict[str, Any]:
    """Return an example of the document that has an object at this place."""
    examples = [example["value"] for example in body_schema(method, path)["examples"].values()]
    return copy.deepcopy(next(example for example in examples if has(example, where)))


def sent(staff: Client, method: str, path: str, body: Any = None, query: str = "") -> Any:
    for name in ("reservation", "sale", "ticket", "order", "session", "id", "buyer"):
        path = path.replace(f"{{{name}}}", str(uuid.uuid4()))
    call = getattr(staff, method)
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    if method in {"get", "delete"}:
        return call(f"{path}{query}", headers=headers)
    if isinstance(body, str):
        return call(f"{path}{query}", body, content_type="application/json", headers=headers)
    return call(f"{path}{query}", body or {}, format="json", headers=headers)


@pytest.fixture
def staff() -> Any:
    return client_of(UserFactory(is_staff=True, is_superuser=True))


def told(response: Any) -> dict[str, str]:
    body = assert_problem(response, 400, "invalid")
    return {error["field"]: error["message"] for error in body["errors"]}


@pytest.mark.parametrize(("method", "path"), operations(with_body=True))
class TestBodies:
    def test_unknown_field_is_refused_in_every_object(self, staff: Any, method: str, path: str) -> None:
        for where, _names in objects_of(body_schema(method, path)["schema"]):
            body = example_with(method, path, where)
            places(body, where)[UNKNOWN] = "x"

            errors = told(sent(staff, method, path, body))

            field = ".".join(map(str, (*where, UNKNOWN)))
            assert field in errors, (where, errors)
            assert "There is no such field" in errors[field]

    def test_field_that_comes_twice_is_refused_in_every_object(self, staff: Any, method: str, path: str) -> None:
        for where, names in objects_of(body_schema(method, path)["schema"]):
            body = example_with(method, path, where)
            for name in set(names) & places(body, where).keys():
                twice = copy.deepcopy(body)
                places(twice, where)[UNKNOWN] = places(body, where)[name]
                text = json.dumps(twice).replace(UNKNOWN, name)

                errors = told(sent(staff, method, path, text))

                assert errors == {".".join(map(str, (*where, name))): "Give this value only once."}

    def test_mistyped_field_is_told_the_nearest_known_one(self, staff: Any, method: str, path: str) -> None:
        for where, names in objects_of(body_schema(method, path)["schema"]):
            body = example_with(method, path, where)
            for name in names:
                mistyped = copy.deepcopy(body)
                slip = f"{name}_"
                place = places(mistyped, where)
                place[slip] = place.pop(name, "x")

                errors = told(sent(staff, method, path, mistyped))

                field = ".".join(map(str, (*where, slip)))
                assert errors[field] == f"There is no such field. Did you mean “{name}”?"


@pytest.mark.parametrize(("method", "path"), operations(with_body=False))
def test_unknown_query_parameter_is_refused(staff: Any, method: str, path: str) -> None:
    known = [
        parameter["name"]
        for parameter in views.document()["paths"][path][method].get("parameters", ())
        if parameter["in"] == "query"
    ]
    assert UNKNOWN in told(sent(staff, method, path, query=f"?{UNKNOWN}=1"))
    for name in known:
        assert f"“{name}”" in told(sent(staff, method, path, query=f"?{name}_=1"))[f"{name}_"]
        answer = sent(staff, method, path, query=f"?{name}=")
        assert "There is no such field" not in answer.content.decode()
        assert told(sent(staff, method, path, query=f"?{name}=1&{name}=2")).keys() >= {name}


@pytest.mark.parametrize("method", ["TRACE", "PUT"])
def test_method_that_is_not_there_is_405_whatever_is_asked(staff: Any, method: str) -> None:
    assert staff.generic(method, "/api/v1/halls?limit=5").status_code == 405


@pytest.mark.parametrize("key", ["k" * 256, "k k", "\0"])
def test_key_that_cannot_be_one_is_refused(staff: Any, key: str) -> None:
    assert told(staff.get("/api/v1/orders", {"idempotency_key": key})).keys() == {"idempotency_key"}


@pytest.mark.parametrize("path", ["/auth/guest", "/reservations/01a22b4d-4dd7-743b-b8bd-e84050f9399a/extend"])
def test_request_that_takes_no_body_refuses_fields(staff: Any, path: str) -> None:
    assert told(post(staff, path, {"seconds": 60})) == {
        "seconds": "There is no such field: this request has no fields."
    }
    assert post(staff, path).status_code in {201, 404}
    assert post(staff, path, {}).status_code in {201, 404}


def test_voucher_code_is_no_voucher(staff: Any) -> None:
    """Check that it is refused, because the place would be sold at the full price."""
    body = {"ticket_type": str(uuid.uuid4()), "quantity": 1, "voucher_code": "SUMMER"}
    errors = told(post(staff, "/orders", body, idempotency_key="k"))
    assert errors == {"voucher_code": "There is no such field. Did you mean “voucher”?"}


def test_all_that_is_wrong_is_told_at_once(staff: Any) -> None:
    assert told(post(staff, "/orders", {"quantity": 0, "voucher_code": "S"}, idempotency_key="k")).keys() == {
        "quantity",
        "voucher_code",
    }


def test_answer_to_a_flood_of_unknown_fields_is_short(staff: Any) -> None:
    body = {f"{number}{'x' * 200}": 1 for number in range(500)}
    answer = post(staff, "/auth/token", body)
    assert len(answer.content) < 10_000


def test_answer_to_a_flood_of_fields_that_come_twice_is_short(staff: Any) -> None:
    name = "x" * 300
    text = "[" + ",".join([f'{{"{name}": [{{"{name}": 1, "{name}": 2}}], "{name}": 1}}'] * 50) + "]"
    answer = sent(staff, "post", "/api/v1/auth/token", text)
    told(answer)
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("way", ["short", "long"])
def test_order_whose_seats_come_twice_sells_nothing(way: str, session: Session, ana: uuid.UUID) -> None:
    lane = "" if way == "short" else ', "voucher": null'
    text = f'{{"session": "{session.pk}", "seats": ["A1"], "seats": ["A2"]{lane}}}'
    assert told(sent(client_of(ana), "post", "/api/v1/orders", text)) == {"seats": "Give this value only once."}
    assert not Reservation.objects.exists()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("voucher_code", "voucher"),
        ("Voucher", "voucher"),
        ("cupom", None),
        ("laneCode", "lane_code"),
        ("seat", "seats"),
    ],
)
def test_nearest_name(name: str, meant: str | None) -> None:
    assert nearest(name, ["session", "seats", "ticket_type", "quantity", "voucher", "lane_code"]) == meant


MONEY = [25.0, 25.5, 2500.0, "2500", "25,00", True]


@pytest.mark.parametrize("amount", MONEY)
class TestMoney:
    def test_money_is_whole_minor_units(self, staff: Any, amount: Any) -> None:
        body = {
            "show": {"title": "Cine"},
            "starts_at": "2099-05-01T22:30:00Z",
            "rows": 1,
            "seats_per_row": 1,
            "price": amount,
            "prices": {"": amount},
            "booking_fee": amount,
            "ticket_types": [{"name": "Pista", "price": amount, "capacity": 1}],
            "concessions": [{"name": "Half", "price": amount}],
        }
        errors = told(post(staff, "/sessions", body))
        fields = {"price", "prices.", "booking_fee", "ticket_types.0.price", "concessions.0.price"}
        assert errors.keys() == fields
        assert all("2500 for 25.00" in message for message in errors.values())


class TestSessions:
    BODY = {"show": {"title": "Cine"}, "starts_at": "2099-05-01T22:30:00Z", "rows": 2, "seats_per_row": 2, "price": 100}

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"starts_at": "2020-01-01T20:00:00Z"}, "starts_at"),
            ({"hold_seconds": 60, "max_hold_seconds": 59}, "max_hold_seconds"),
            ({"prices": {"Stalls": 100}}, "prices"),
            ({"ticket_types": [{"name": "Stalls", "price": 100}]}, "ticket_types"),
        ],
    )
    def test_session_with_impossible_values_is_refused(self, staff: Any, wrong: dict[str, Any], field: str) -> None:
        assert field in told(post(staff, "/sessions", {**self.BODY, **wrong}))

    @pytest.mark.parametrize(("hold", "longest"), [(30, 600), (900, 900)])
    def test_longest_hold_covers_a_hold_by_itself(self, staff: Any, hold: int, longest: int) -> None:
        made = post(staff, "/sessions", {**self.BODY, "hold_seconds": hold}).json()
        assert (made["hold_seconds"], made["max_hold_seconds"]) == (hold, longest)
