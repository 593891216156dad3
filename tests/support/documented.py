"""Check whether the OpenAPI document names an answer for its operation."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.urls import Resolver404, resolve
from jsonschema import Draft202012Validator

from config.web.openapi import views


@cache
def operation_of(route: str, method: str) -> dict[str, Any] | None:
    """Return the document's operation at Django's `route`; None if there is none."""
    paths = views.document()["paths"]
    wanted = [(part.partition(":")[2] and "{}") or part for part in f"/{route}".split("/")]
    for path, methods in paths.items():
        if ["{}" if part.startswith("{") else part for part in path.split("/")] == wanted and method in methods:
            found: dict[str, Any] = methods[method]
            return found
    return None


def undocumented(response: Any) -> str:
    """Return what of a problem is missing in the document: its status, its code, or its facts; empty if nothing is."""
    request = response.wsgi_request
    try:
        route = resolve(request.path_info.rstrip("/")).route
    except Resolver404:
        return ""
    operation = operation_of(route, str(request.method).lower())
    if operation is None:
        return ""
    answer = operation["responses"].get(str(response.status_code))
    if answer is None:
        return f"{operation['operationId']} answers {response.status_code}, and names no such answer"
    validator = Draft202012Validator(
        {**answer["content"]["application/problem+json"]["schema"], "components": views.document()["components"]}
    )
    wrong = [error.message for error in validator.iter_errors(response.json())]
    return f"{operation['operationId']} answers {response.json()}: {wrong}" if wrong else ""
