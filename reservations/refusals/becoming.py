"""Define the refusals by the outcome of a request or the state of a reservation."""

from __future__ import annotations

import dataclasses
import uuid

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from base.refusals import TEXT, Facts, Refused
from reservations.refusals.asking import SaleClosed

ORDER_AGAIN = _("You can order again.")
# Gateways have words of their own beside these: Stripe's decline codes come as they are.
GATEWAYS_SAY = ["card_declined", "gateway_timeout", "gateway_silent", "authentication_required", "too_late"]


# --- The key, and the buyer


class IdempotencyMismatch(
    Refused, reason="idempotency_mismatch", status=422, title="Idempotency key used for something else"
):
    """The key was used for another request."""

    sentence = _("A different request used this Idempotency-Key before. Send a new key.")


@dataclasses.dataclass(eq=False)
class RequestInFlight(Refused, reason="request_in_flight", status=409, title="The first request is still in flight"):
    """The first request with this key has no answer yet."""

    sentence = _("A request with this Idempotency-Key has no answer yet. Try again in a moment.")

    retry_after: float


class Duplicate(Refused, reason="duplicate", code="not_held", status=409, title="Not held"):
    """Allocation found the key's first request, so the second one gets nothing."""

    sentence = ended = _("You already placed this order with the same key.")
    advice = _("“My orders” shows the first order.")


class SignedInSince(Refused, reason="bad_token", status=401, title="Credentials are not valid"):
    """The guest signed in or registered a while ago, so its requests need the account's credentials now."""

    sentence = _("You have signed in or registered since then. Use the credentials of your account.")


# --- The outcome of a reservation


class NotHeld(Refused, reason="not_held", status=409, title="Not held"):
    """The reservation is still queued, or ended without its seats; `because` is the reason of that."""

    sentence = _("The reservation is still in the queue, or it ended without its seats.")
    to_staff = _("This reservation has ended.")

    def __init__(self, because: type[Refused] | None = None) -> None:
        super().__init__(because.reason if because else "")
        self.because = because

    def said(self) -> str:
        return str(self.because.ended if self.because else self.sentence)


class ReservationExpired(
    Refused, reason="expired", code="reservation_expired", status=410, title="Reservation expired"
):
    """The hold ran out."""

    sentence = _("The time to pay is over. Nothing was charged.")
    to_staff = _("The time of this hold is over. Choose the places again.")
    ended = _("The time to pay is over. Nothing was charged.")
    advice = _("Choose again: with luck the places are still free.")


class Released(NotHeld, reason="released", code=NotHeld.code):
    """The buyer gave it up."""

    ended = _("You cancelled the order. Nothing was charged.")
    advice = ORDER_AGAIN


class CalledOff(SaleClosed, reason="session_cancelled", code=SaleClosed.code):
    """The house called its session off."""

    ended = _("The session was called off. Nothing was charged.")
    heading = pgettext_lazy("a session", "Called off")


class BoxOffice(NotHeld, reason="box_office", code=NotHeld.code):
    """Staff called it off."""

    ended = _("The box office cancelled the order. Nothing was charged.")
    advice = ORDER_AGAIN


class Failed(NotHeld, reason="failed", code=NotHeld.code):
    """The request was set aside for a person, who then gave it up."""

    sentence = ended = _("Something went wrong on our side, and we are sorry. Nothing was charged.")
    advice = ORDER_AGAIN


class PaymentDeclined(Refused, reason="payment_declined", status=402, title="Payment declined"):
    """The gateway declined, or gave no answer in time; `why` is the gateway's reason."""

    sentence = _("The payment was declined. Nothing was charged.")
    ended = _("The payment was declined. Nothing was charged, and other buyers can have the places again.")
    advice = _("Order again with another card.")
    shape = {"reason": {"anyOf": [{"type": "string", "enum": GATEWAYS_SAY}, TEXT]}}

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why

    def facts(self) -> Facts:
        return {"reason": self.why}


class ExtensionLimit(Refused, reason="extension_limit", status=409, title="No more time"):
    """The reservation was extended as often, or as long, as the session allows."""

    sentence = _("The hold has reached the longest time that this session allows. Pay before it ends.")


class PaymentInProgress(Refused, reason="payment_in_progress", status=409, title="Payment in progress"):
    """A payment for the reservation is under way."""

    sentence = _("A payment for this reservation is under way. Wait for its result.")
    to_staff = _("The buyer is paying at this moment. Try again in a moment.")


@dataclasses.dataclass(eq=False)
class AlreadyPaid(Refused, reason="already_paid", status=409, title="Already paid"):
    """The reservation is paid; `sale` is its sale."""

    sentence = _("This reservation is already paid.")
    to_staff = _(
        "This reservation is paid, so it cannot be released. Give the money back under Sales, or move the buyer to "
        "other seats."
    )
    shape = {"sale": {"$ref": "#/components/schemas/SaleOut"}}

    sale: uuid.UUID | None
