"""Describe problems in the OpenAPI document: a schema for each code, with the facts of that error.

These facts are the extension members of RFC 9457.
"""

from __future__ import annotations

from rest_framework import exceptions

import reservations.refusals
import sessions_app.operations
import ticketing.refusals
from base.asking import OtherBuyer
from base.refusals import ERRORS, TEXT, Refused, Schema
from config.web import problems
from ticketing.api.accounts import BadCredentials

FACTS: dict[str, Schema] = {"invalid": ERRORS}  # facts of problems that are not refusals
SOMETIMES = {"bad_signature": ERRORS}  # for a ticket's code; a webhook's signature is not a field
WITH_STATUS = {("ticket_void", 410)}  # their names include the status

Which = tuple[str, int]  # a problem's code and its status: a void ticket is 409 at the door and 410 for its picture
Problem = problems.Known | type[Refused]


def known() -> dict[Which, Problem]:
    """Return every problem that the API answers with."""
    table: list[Problem] = [
        OtherBuyer,
        *reservations.refusals.ENTRIES,
        *sessions_app.operations.REFUSALS,
        *ticketing.refusals.ENTRIES,
        *problems.PROBLEMS.values(),
        problems.BUSY,
        problems.INVALID,
        problems.BAD_REQUEST,
        problems.LOCKED_OUT,
    ]
    refused = problems.PROBLEMS[exceptions.AuthenticationFailed]
    return {(problem.code, problem.status): problem for problem in table} | {
        (BadCredentials.default_code, refused.status): refused,
        (problems.CSRF_FAILED.code, problems.CSRF_FAILED.status): problems.CSRF_FAILED,
    }


def name_of(which: Which) -> str:
    """Return the component's name: `sold_out` is `SoldOutProblem`. The second of two statuses is in the name."""
    code, status = which
    name = "".join(part.capitalize() for part in code.split("_"))
    return f"{name}{status if which in WITH_STATUS else ''}Problem"


def component(which: Which, problem: Problem) -> Schema:
    code, status = which
    facts = FACTS.get(code, {}) if isinstance(problem, problems.Known) else shape_of(problem)
    return {
        "type": "object",
        "description": str(problem.title),
        "required": ["type", "title", "status", "detail", "code", "request_id", *facts],
        "properties": {
            "type": {"type": "string", "const": f"urn:frontrow:problem:{code}"},
            "title": TEXT,
            "status": {"type": "integer", "const": status},
            "detail": {"type": "string", "description": "For people, in the language that they asked in."},
            "code": {"type": "string", "const": code},
            "request_id": TEXT,
            **facts,
            **SOMETIMES.get(code, {}),
        },
    }


def shape_of(refusal: type[Refused]) -> Schema:
    return {**refusal.shape, **(ERRORS if refusal.field and refusal.code not in SOMETIMES else {})}


def one_of(these: list[Which]) -> Schema:
    """Return the schema of an answer that is one of these problems."""
    places = {code: f"#/components/schemas/{name_of((code, status))}" for code, status in these}
    if len(places) == 1:
        return {"$ref": next(iter(places.values()))}
    return {
        "oneOf": [{"$ref": place} for place in places.values()],
        "discriminator": {"propertyName": "code", "mapping": places},
    }
