"""Use Stripe by its official SDK: PaymentIntents with manual capture. The token is a payment method's id (`pm_…`).

The attempt's id is the idempotency key of the intent. So a repetition finds the outcome of a request that was not
answered, or starts it.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import stripe
import structlog

from ticketing.payments.gateways import (
    DEADLINE_SECONDS,
    Attempt,
    GatewayTimeout,
    GatewayUnavailable,
    Notice,
    Record,
    RefundRefused,
    Standing,
    State,
    registry,
)
from ticketing.payments.gateways.signatures import require_recent, require_secret, signed_at
from ticketing.refusals import UnknownToken, UnsignedWebhook

CONNECT_SECONDS = 2.0
WITH_ITS_FEE = ["latest_charge.balance_transaction"]
STATES: dict[str, State] = {
    "requires_capture": "authorised",
    "succeeded": "captured",
    "canceled": "voided",
    "processing": "pending",
    "requires_payment_method": "declined",
    "requires_confirmation": "declined",
    "requires_action": "declined",  # the bank wants to ask the buyer, who is not present
}

ATTEMPT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

log = structlog.get_logger(__name__)


@functools.cache
def _client(key: str, url: str) -> stripe.StripeClient:
    """Make a client that tries once, because its callers know how to repeat."""
    return stripe.StripeClient(
        key,
        base_addresses={"api": url},
        http_client=stripe.RequestsClient(timeout=(CONNECT_SECONDS, DEADLINE_SECONDS)),
        max_network_retries=0,
    )


def client() -> stripe.StripeClient:
    return _client(registry.value("STRIPE_API_KEY"), registry.value("STRIPE_API_URL"))


def check(token: str) -> None:
    if not token.startswith("pm_"):
        raise UnknownToken(token)


def authorise(attempt: Attempt) -> Standing:
    try:
        with _deadlines():
            intent = client().v1.payment_intents.create(
                {
                    "amount": attempt.amount,
                    "currency": attempt.currency.lower(),
                    "payment_method": attempt.token,
                    "confirm": True,
                    "capture_method": "manual",
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "metadata": {"attempt": str(attempt.id)},
                },
                {"idempotency_key": str(attempt.id)},
            )
    except stripe.CardError as refused:
        return Standing("declined", reason=_reason(refused), reference=_intent_of(refused))
    except stripe.InvalidRequestError as refused:
        return Standing("declined", reason=(refused.code or "invalid_request")[:60])
    return _standing(intent)


def find(attempt: Attempt) -> Standing:
    """Return the state, never `unknown`: an intent that Stripe does not know is made now, once."""
    if attempt.reference:
        with _deadlines():
            return _standing(client().v1.payment_intents.retrieve(attempt.reference, {"expand": WITH_ITS_FEE}))
    first = authorise(attempt)  # its first answer, which may be outdated
    if not first.reference or first.state == "declined":
        return first
    with _deadlines():
        return _standing(client().v1.payment_intents.retrieve(first.reference, {"expand": WITH_ITS_FEE}))


def capture(attempt: Attempt) -> Standing:
    return _moved(
        attempt,
        lambda intent: client().v1.payment_intents.capture(
            intent, {"expand": WITH_ITS_FEE}, {"idempotency_key": f"{attempt.id}-capture"}
        ),
    )


def void(attempt: Attempt) -> Standing:
    return _moved(
        attempt,
        lambda intent: client().v1.payment_intents.cancel(intent, {}, {"idempotency_key": f"{attempt.id}-void"}),
    )


def refund(attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
    intent = attempt.reference or find(attempt).reference
    try:
        with _deadlines():
            made = client().v1.refunds.create(
                {"payment_intent": intent, "amount": amount, "metadata": {"refund": str(refund)}},
                {"idempotency_key": str(refund)},
            )
    except (stripe.CardError, stripe.InvalidRequestError) as refused:
        raise RefundRefused(refused.code or "") from refused
    if made.status in {"failed", "canceled"}:
        raise RefundRefused(made.failure_reason or made.status)


def recent_records(*, since: dt.datetime, most: int) -> Iterator[Record]:
    with _deadlines():
        newest = client().v1.payment_intents.list(
            {"created": {"gte": int(since.timestamp())}, "limit": 100, "expand": ["data.latest_charge"]}
        )
        for intent in itertools.islice(newest.auto_paging_iter(), most):
            yield _record(intent)


def record_of(reference: str) -> Record | None:
    try:
        with _deadlines():
            return _record(client().v1.payment_intents.retrieve(reference, {"expand": ["latest_charge"]}))
    except stripe.InvalidRequestError:
        return None


def _record(intent: stripe.PaymentIntent) -> Record:
    charge = intent.latest_charge
    given_back = charge.amount_refunded if isinstance(charge, stripe.Charge) else 0
    metadata: Any = intent.metadata  # an object of the SDK, not the dict that its type says
    named = str(metadata.to_dict().get("attempt", "")) if metadata else ""
    return Record(
        reference=intent.id,
        attempt=uuid.UUID(named) if ATTEMPT.fullmatch(named) else None,
        kept=(intent.amount_received or 0) - given_back,
    )


def read_notice(body: bytes, headers: Mapping[str, str]) -> Notice:
    secret = registry.value("STRIPE_WEBHOOK_SECRET")
    require_secret(secret.encode())
    signature = headers.get("Stripe-Signature", "")
    try:
        said = body.decode()
        stripe.WebhookSignature.verify_header(said, signature, secret)  # of any age
        require_recent(signed_at(signature))
        event = json.loads(said)
        named = (event["data"]["object"].get("metadata") or {}).get("attempt")
        return Notice(event=str(event["id"]), kind=str(event["type"]), attempt=uuid.UUID(named) if named else None)
    except (stripe.SignatureVerificationError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UnsignedWebhook(type(error).__name__) from error


def _moved(attempt: Attempt, step: Callable[[str], stripe.PaymentIntent]) -> Standing:
    """Take the intent one step further; if that is impossible, return its state."""
    intent = attempt.reference or find(attempt).reference
    try:
        with _deadlines():
            return _standing(step(intent))
    except (stripe.CardError, stripe.InvalidRequestError):
        with _deadlines():
            return _standing(client().v1.payment_intents.retrieve(intent, {"expand": WITH_ITS_FEE}))


def _standing(intent: stripe.PaymentIntent) -> Standing:
    return Standing(
        STATES[intent.status],
        reason="authentication_required" if intent.status == "requires_action" else "",
        reference=intent.id,
        fee=_fee(intent),
    )


def _fee(intent: stripe.PaymentIntent) -> int:
    """Return Stripe's fee if its answer has it; Stripe's own reports always do."""
    charge = intent.latest_charge
    balance = charge.balance_transaction if isinstance(charge, stripe.Charge) else None
    return balance.fee if isinstance(balance, stripe.BalanceTransaction) else 0


def _reason(refused: stripe.CardError) -> str:
    error: Any = refused.error
    return str(getattr(error, "decline_code", None) or refused.code or "card_declined")[:60]


def _intent_of(refused: stripe.CardError) -> str:
    intent: Any = getattr(refused.error, "payment_intent", None)
    return str(intent["id"]) if intent else ""


@contextmanager
def _deadlines() -> Iterator[None]:
    """Translate Stripe's errors. Raises: GatewayTimeout, GatewayUnavailable."""
    try:
        yield
    except (stripe.RateLimitError, stripe.AuthenticationError, stripe.PermissionError) as error:
        log.warning("stripe.turned_us_away", error=type(error).__name__)
        raise GatewayUnavailable(type(error).__name__) from error
    except (stripe.APIConnectionError, stripe.IdempotencyError) as error:
        raise GatewayTimeout(type(error).__name__) from error
    except stripe.CardError:
        raise
    except stripe.APIError as error:
        raise GatewayTimeout(type(error).__name__) from error
