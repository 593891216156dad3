"""Add to the OpenAPI document what views do not declare: each problem with its facts, and headers.

A view names its own problems (`base.rest.refused_with`). This module adds those that any operation may answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from base.refusals import Schema
from base.rest import REFUSALS, TITLES
from config.web.openapi import problem_shapes
from config.web.openapi.problem_shapes import Which

MEDIA_TYPE = "application/problem+json"
SECONDS: Schema = {"type": "integer", "minimum": 0}
HEADERS: dict[str, Schema] = {
    "X-Request-ID": {
        "schema": {"type": "string"},
        "required": True,
        "description": "Quote this id when you ask for help.",
    },
    "Location": {
        "schema": {"type": "string", "format": "uri-reference"},
        "description": "The address to read the result from.",
    },
    "Retry-After": {"schema": SECONDS, "description": "Seconds to wait before the next try."},
    "ETag": {
        "schema": {"type": "string"},
        "description": "The version of the answer. Send it back as `If-None-Match`.",
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`, with the realm."},
    "Preference-Applied": {
        "schema": {"type": "string"},
        "description": "`wait=N`: the longest time that the server waited.",
    },
    "Content-Disposition": {"schema": {"type": "string"}, "description": "The file's name."},
    "Idempotent-Replayed": {
        "schema": {"type": "string", "const": "true"},
        "description": (
            "The answer repeats the first answer to this Idempotency-Key. The first answer does not have this header."
        ),
    },
}
TWICE = {
    code for code, _status in problem_shapes.WITH_STATUS
}  # codes with two statuses: the view declares which one it means
WAITS = ("429", "503")
OUTCOMES = ("402", "409", "410")  # statuses that a wait for the outcome may end in
FILES = {"application/pdf", "text/calendar", "text/csv"}
UNCHANGED = "304"
CATALOGUE = "Catalogue"
IF_NONE_MATCH: Schema = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The `ETag` of the answer that you have. The answer is 304 if nothing changed.",
}


def catalogue_is_conditional(result: Schema, **_generator: Any) -> Schema:
    """Let the catalogue answer 304 to a client that has it (`sessions_app.api.public`). A hook of drf-spectacular."""
    for methods in result["paths"].values():
        reading = methods.get("get", {"tags": []})
        if CATALOGUE in reading["tags"]:
            reading["responses"].setdefault(UNCHANGED, {"description": "Nothing changed"})
            if not sends(reading, "If-None-Match"):
                reading.setdefault("parameters", []).append(IF_NONE_MATCH)
    return result


def problems_are_named(result: Schema, **_generator: Any) -> Schema:
    """Declare each error of an operation as one of its possible problems. A hook of drf-spectacular."""
    known, used = problem_shapes.known(), set[Which]()
    for operation in operations(result):
        codes = {*operation.pop(REFUSALS, ()), *general(operation)}
        by_status: dict[str, list[Which]] = defaultdict(list)
        for which in sorted(known):
            if which[0] in codes and (which[0] not in TWICE or str(which[1]) in operation["responses"]):
                by_status[str(which[1])].append(which)
                used.add(which)
        for status in by_status.keys() | {status for status in operation["responses"] if status[0] in "45"}:
            answer = operation["responses"].setdefault(status, {"description": TITLES[int(status)], "content": {}})
            media = answer["content"].setdefault(MEDIA_TYPE, {})
            media["schema"] = problem_shapes.one_of(by_status[status])
        operation["responses"] = dict(sorted(operation["responses"].items()))
    schemas = result["components"]["schemas"]
    del schemas["Problem"]  # what views declare in general
    schemas |= {problem_shapes.name_of(which): problem_shapes.component(which, known[which]) for which in sorted(used)}
    return result


def operations(result: Schema) -> Iterator[Schema]:
    for methods in result["paths"].values():
        yield from methods.values()


def general(operation: Schema) -> list[str]:
    """Return the codes of problems that do not depend on the purpose of the operation."""
    told = operation["responses"].keys()
    signed_in, keyed = any(operation.get("security", ())), sends(operation, "Idempotency-Key")
    writes = "requestBody" in operation or bool({"413", "415"} & told)
    by_id = any(item["in"] == "path" for item in operation.get("parameters", ()))
    return [
        *("invalid", "bad_request", "unavailable", "busy"),
        *(["bad_token", "other_buyer"] if signed_in else []),
        *(["not_authenticated"] if signed_in and {} not in operation["security"] else []),
        *(["rate_limited"] if signed_in or "429" in told else []),
        *(["not_found"] if by_id or "404" in told else []),
        *(["malformed", "too_large"] if writes else []),
        *(["unsupported_media_type"] if "415" in told or (writes and signed_in) else []),
        *(["request_in_flight", "idempotency_mismatch"] if keyed else []),
    ]


def sends(operation: Schema, header: str) -> bool:
    return any(item["in"] == "header" and item["name"] == header for item in operation.get("parameters", ()))


def headers_are_named(result: Schema, **_generator: Any) -> Schema:
    """Declare the headers that a client should read. A hook of drf-spectacular."""
    for operation in operations(result):
        for status, answer in operation["responses"].items():
            answer.setdefault("headers", {}).update(
                {name: {"$ref": f"#/components/headers/{name}"} for name in headers_of(operation, status)}
            )
            if status in WAITS:
                answer["headers"]["Retry-After"] = HEADERS["Retry-After"] | {"required": True}
    result["components"]["headers"] = HEADERS
    return result


def headers_of(operation: Schema, status: str) -> Iterator[str]:
    succeeds, keyed = status[0] == "2", sends(operation, "Idempotency-Key")
    yield "X-Request-ID"
    if status == UNCHANGED or (UNCHANGED in operation["responses"] and succeeds):
        yield "ETag"
    if status == "202" or (status == "201" and keyed):
        yield "Location"
    if status == "202" or (status == "409" and keyed):
        yield "Retry-After"
    if status == "401":
        yield "WWW-Authenticate"
    if sends(operation, "Prefer") and (succeeds or status in OUTCOMES):
        yield "Preference-Applied"
    if keyed and (succeeds or status == "402"):
        yield "Idempotent-Replayed"
    if FILES & operation["responses"][status].get("content", {}).keys():
        yield "Content-Disposition"


def security_is_said(result: Schema, **_generator: Any) -> Schema:
    """Declare that an operation needs no credentials if it declared nothing. A hook of drf-spectacular."""
    for operation in operations(result):
        operation.setdefault("security", [])
    return result
