"""What the OpenAPI document says of problems: a schema for each code, with the facts of that error (RFC 9457's extension members)."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions

from config.web import problems
from ticketing.api.accounts import BadCredentials

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAMES: Schema = {"type": "array", "items": TEXT}
ERRORS: Schema = {"errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/FieldError"}}}
# Gateways have words of their own beside these: Stripe's decline codes come as they are.
DECLINED = ["card_declined", "gateway_timeout", "gateway_silent", "authentication_required", "too_late"]

FACTS: dict[str, Schema] = {
    "invalid": ERRORS,
    "seats_unavailable": {
        "conflicts": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Conflict"}}
    },
    "sale_not_open": {"on_sale_at": TIME_OR_NULL},
    "limit_reached": {"limit": COUNT},
    "too_many_seats": {"limit": COUNT, **ERRORS},
    "unknown_seat": {"seats": NAMES, **ERRORS},
    "duplicate_seat": {"seats": NAMES, **ERRORS},
    "unknown_concession": {"concessions": NAMES, **ERRORS},
    "concession_count": {"places": COUNT, **ERRORS},
    "already_paid": {"sale": {"$ref": "#/components/schemas/SaleOut"}},
    "payment_declined": {"reason": {"anyOf": [{"type": "string", "enum": DECLINED}, TEXT]}},
    "refund_closed": {"until": TIME_OR_NULL},
    "nothing_to_refund": {"tickets": {"type": "array", "items": ID}},
    "cannot_pass_on": {"reason": {"type": "string", "enum": ["used", "void", "called_off", "over", "own"]}},
    "ticket_void": {"reason": {"$ref": "#/components/schemas/VoidReasonEnum"}, "voided_at": TIME},
    "other_session": {"session": ID},
    "session_cancelled": {"cancelled_at": TIME},
    "not_yet": {"opens_at": TIME, "starts_at": TIME},
    "too_late": {"ended_at": TIME},
    "payment_due": {"due": {"$ref": "#/components/schemas/Money"}},
    "already_used": {"used_at": TIME, "gate": TEXT},
    **dict.fromkeys(
        [
            *("unknown_ticket_type", "sold_at_once", "payment_needed", "unknown_lane", "unknown_session"),
            *("voucher_unknown", "voucher_not_yet_valid", "voucher_expired", "voucher_used_up", "voucher_not_for_this"),
            *("unknown_method", "unknown_token", "unknown_receiver", "unknown_code"),
        ],
        ERRORS,
    ),
}
SECOND: dict[tuple[str, int], Schema] = {("ticket_void", 410): FACTS["ticket_void"]}
SOMETIMES = {"bad_signature": ERRORS}  # of a ticket's code; a webhook's signature is no field


Which = tuple[str, int]  # a problem's code and its status: a void ticket is 409 at the door and 410 for its picture


def known() -> dict[Which, problems.Known]:
    """Return every problem that the API answers with."""
    table = [*problems.PROBLEMS.values(), problems.BUSY, problems.INVALID, problems.BAD_REQUEST, problems.LOCKED_OUT]
    refused = problems.PROBLEMS[exceptions.AuthenticationFailed]
    return {(problem.code, problem.status): problem for problem in table} | {
        (BadCredentials.default_code, refused.status): refused,
        (problems.CSRF_FAILED.code, problems.CSRF_FAILED.status): problems.CSRF_FAILED,
    }


def name_of(which: Which) -> str:
    """`sold_out` is the component `SoldOutProblem`; where a code has two statuses, the second is in the name."""
    code, status = which
    name = "".join(part.capitalize() for part in code.split("_"))
    return f"{name}{status if which in SECOND else ''}Problem"


def component(which: Which, problem: problems.Known) -> Schema:
    code, status = which
    facts = SECOND[which] if which in SECOND else FACTS.get(code, {})
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


def one_of(these: list[Which]) -> Schema:
    """Return the schema of an answer that is one of these problems."""
    places = {code: f"#/components/schemas/{name_of((code, status))}" for code, status in these}
    if len(places) == 1:
        return {"$ref": next(iter(places.values()))}
    return {
        "oneOf": [{"$ref": place} for place in places.values()],
        "discriminator": {"propertyName": "code", "mapping": places},
    }
