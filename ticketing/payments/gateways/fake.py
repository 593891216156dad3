"""Simulate a gateway: no money moves. The sandbox keeps its own record of every attempt for the audit to compare.

| token | what happens |
|---|---|
| `ok` | paid |
| `declined` | the card is refused |
| `slow` | paid, after 3 seconds |
| `timeout` | no answer within the deadline, and nothing is charged |
| `timeout_charged` | no answer within the deadline, but the money is authorised: found when asked again |
| `webhook_twice` | paid, and the webhook that says so comes twice |
| `webhook_out_of_order` | paid, and the webhooks come last one first |
| `webhook_late` | no answer and no record of the attempt; 45 seconds later the money is there and a webhook says so |

`SANDBOX_LATENCY_MS` delays every answer. Each question is one statement, for one attempt or for a crowd's. It holds no
connection while it waits.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from base.clock import db_now
from base.rows import as_array, as_json, execute
from ticketing.models import SandboxCharge, SandboxEvent, SandboxRefund
from ticketing.payments.gateways import (
    DEADLINE_SECONDS,
    Attempt,
    GatewayTimeout,
    Notice,
    RefundRefused,
    Standing,
    signatures,
)
from ticketing.refusals import UnknownToken, UnsignedWebhook

TOKENS = (
    "ok",
    "declined",
    "slow",
    "timeout",
    "timeout_charged",
    "webhook_twice",
    "webhook_out_of_order",
    "webhook_late",
)
SLOW_SECONDS = 3.0
LATE = dt.timedelta(seconds=45)
SIGNATURE_HEADER = "Frontrow-Signature"
LATE_STATUS = "late"  # the sandbox does not know the attempt yet

AUTHORISE = """
INSERT INTO ticketing_sandboxcharge (attempt, amount, currency, status, refunded, changed_at)
VALUES (%s, %s, %s, %s, 0, clock_timestamp()) ON CONFLICT (attempt) DO NOTHING
"""
AUTHORISE_ALL = """
INSERT INTO ticketing_sandboxcharge (attempt, amount, currency, status, refunded, changed_at)
SELECT attempt, amount, currency, 'authorised', 0, clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (attempt uuid, amount bigint, currency text) ORDER BY attempt
  ON CONFLICT (attempt) DO NOTHING
"""
CAPTURE_ALL = """
UPDATE ticketing_sandboxcharge SET status = 'captured', changed_at = clock_timestamp() WHERE attempt IN (
    SELECT attempt FROM ticketing_sandboxcharge
    WHERE attempt = ANY(%s::uuid[]) AND status = 'authorised' ORDER BY attempt FOR NO KEY UPDATE
)
"""
MOVE = (
    "UPDATE ticketing_sandboxcharge SET status = %s, changed_at = clock_timestamp() WHERE attempt = %s AND status = %s"
)


def check(token: str) -> None:
    if token not in TOKENS:
        raise UnknownToken(token, known=TOKENS)


def authorise(attempt: Attempt) -> Standing:
    match attempt.token:
        case "timeout":
            _be_silent()
        case "slow":
            _wait(SLOW_SECONDS)
    status = {"declined": "declined", "webhook_late": LATE_STATUS}.get(attempt.token, "authorised")
    first = execute(AUTHORISE, attempt.id, attempt.amount, attempt.currency, status).rowcount
    if first and attempt.token.startswith("webhook_"):
        _plan_events(attempt)
    if attempt.token in {"timeout_charged", "webhook_late"} and first:
        _be_silent()
    standing = Standing("authorised") if first and status == "authorised" else _standing(attempt.id)
    _answer()
    return standing


def find(attempt: Attempt) -> Standing:
    standing = _standing(attempt.id)
    _answer()
    return standing


def capture(attempt: Attempt) -> Standing:
    standing = _moved(attempt.id, "captured")
    _answer()
    return standing


def is_plain(attempt: Attempt) -> bool:
    return attempt.token == "ok"  # noqa: S105 no secret


def authorise_all(attempts: Sequence[Attempt]) -> list[Standing]:
    asked = [{"attempt": one.id, "amount": one.amount, "currency": one.currency} for one in attempts]
    if execute(AUTHORISE_ALL, as_json(asked)).rowcount == len(attempts):
        standings = [Standing("authorised")] * len(attempts)
    else:
        standings = _standings(attempts)
    _answer()
    return standings


def capture_all(attempts: Sequence[Attempt]) -> list[Standing]:
    if execute(CAPTURE_ALL, as_array(one.id for one in attempts)).rowcount == len(attempts):
        standings = [Standing("captured")] * len(attempts)
    else:
        standings = _standings(attempts)
    _answer()
    return standings


def void(attempt: Attempt) -> Standing:
    """Void an attempt. One that comes later is refused; one of the token `webhook_late` cannot be refused."""
    if execute(AUTHORISE, attempt.id, 0, "", "voided").rowcount:
        standing = Standing("voided")
    else:
        standing = _moved(attempt.id, "voided")
    _answer()
    return standing


def refund(attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
    with transaction.atomic():
        charge = SandboxCharge.objects.select_for_update(no_key=True).filter(pk=attempt.id, status="captured").first()
        if charge is None or charge.amount < charge.refunded + amount:
            if not SandboxRefund.objects.filter(pk=refund).exists():
                raise RefundRefused("not so much was captured")
        elif SandboxRefund.objects.get_or_create(pk=refund, defaults={"charge": charge, "amount": amount})[1]:
            SandboxCharge.objects.filter(pk=charge.pk).update(refunded=F("refunded") + amount, changed_at=Now())
    _answer()


def _moved(attempt: uuid.UUID, status: str) -> Standing:
    """Change an authorised attempt to this status; otherwise return its state."""
    if execute(MOVE, status, attempt, "authorised").rowcount:
        return Standing("captured" if status == "captured" else "voided")
    return _standing(attempt)


def _standing(attempt: uuid.UUID) -> Standing:
    return _as_said(SandboxCharge.objects.filter(pk=attempt).values_list("status", flat=True).first())


def _standings(attempts: Sequence[Attempt]) -> list[Standing]:
    charges = SandboxCharge.objects.in_bulk([attempt.id for attempt in attempts])
    return [_as_said(charges[attempt.id].status if attempt.id in charges else None) for attempt in attempts]


def _as_said(status: str | None) -> Standing:
    """Translate the status of a charge; None means that there is none."""
    match status or LATE_STATUS:
        case "authorised" | "captured" | "voided" as state:
            return Standing(state)
        case "declined":
            return Standing("declined", reason="card_declined")
        case _:
            return Standing("unknown")


def _answer() -> None:
    _wait(settings.SANDBOX_LATENCY_MS / 1000)


def _wait(seconds: float) -> None:
    if seconds:
        connection.close()  # back to the pool
        time.sleep(seconds)


def _be_silent() -> None:
    _wait(DEADLINE_SECONDS)
    raise GatewayTimeout(f"no answer in {DEADLINE_SECONDS:g} s")


# --- Webhooks


def _plan_events(attempt: Attempt) -> None:
    kinds = {
        "webhook_twice": [("payment.authorised", dt.timedelta(0), 2)],
        "webhook_out_of_order": [
            ("payment.captured", dt.timedelta(0), 1),
            ("payment.authorised", dt.timedelta(milliseconds=1), 1),
        ],
        "webhook_late": [("payment.captured", LATE, 1)],
    }[attempt.token]
    SandboxEvent.objects.bulk_create(
        SandboxEvent(attempt=attempt.id, kind=kind, times=times, due_at=Now() + delay) for kind, delay, times in kinds
    )


def due_events(*, limit: int = 100) -> Iterator[tuple[SandboxEvent, bytes, dict[str, str]]]:
    """Yield the webhooks that are due, with their headers, again and again until they are `heard`."""
    for event in SandboxEvent.objects.filter(due_at__lte=Now(), times__gt=0)[:limit]:
        execute(MOVE, "captured", event.attempt, LATE_STATUS)
        yield event, *signed(event)


def signed(event: SandboxEvent) -> tuple[bytes, dict[str, str]]:
    said = {"id": str(event.pk), "kind": event.kind, "attempt": str(event.attempt)}
    body = json.dumps(said).encode()
    return body, {SIGNATURE_HEADER: signatures.sign(body, secret=_secret(), at=db_now().timestamp())}


def heard(event: SandboxEvent) -> None:
    SandboxEvent.objects.filter(pk=event.pk).update(times=F("times") - 1)


def read_notice(body: bytes, headers: Mapping[str, str]) -> Notice:
    signatures.verify(body, headers.get(SIGNATURE_HEADER, ""), secret=_secret())
    try:
        said = json.loads(body)
        return Notice(event=str(said["id"]), kind=str(said["kind"]), attempt=uuid.UUID(said["attempt"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnsignedWebhook("not an event") from error


def _secret() -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"frontrow sandbox webhooks", "sha256")
