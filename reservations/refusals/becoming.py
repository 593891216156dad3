"""What became of a request or a reservation, and what it doesn't allow any more."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from base.refusals import TEXT, Refused
from reservations.refusals.asking import SaleClosed

ORDER_AGAIN = _("You can order again.")
# Gateways have words of their own beside these: Stripe's decline codes come as they are.
GATEWAYS_SAY = ["card_declined", "gateway_timeout", "gateway_silent", "authentication_required", "too_late"]


# --- The key, and who asks


class IdempotencyMismatch(
    Refused, reason="idempotency_mismatch", status=422, title="Idempotency key used for something else"
):
    """The key was used for another request."""

    sentence = _("This Idempotency-Key came with another request before.")


@dataclasses.dataclass(eq=False)
class RequestInFlight(Refused, reason="request_in_flight", status=409, title="The first request is still in flight"):
    """The first request with this key has no answer yet."""

    sentence = _("A request with this Idempotency-Key has no answer yet; ask again in a moment.")

    retry_after: float


class Duplicate(Refused, reason="duplicate", code="not_held", status=409, title="Not held"):
    """Allocation found the key's first request; the second one gets nothing."""

    sentence = ended = _("This order was placed before, with the same key.")
    advice = _("“My orders” shows the first one.")


class SignedInSince(Refused, reason="bad_token", status=401, title="Credentials are not valid"):
    """The guest signed in or registered a while ago: what it asks for now, it asks with the account's credentials."""

    sentence = _("You have signed in or registered since: use the account's credentials.")


# --- What became of a reservation


class NotHeld(Refused, reason="not_held", status=409, title="Not held"):
    """It is queued still, or ended without its seats: `because` of that."""

    sentence = _("It still stands in line, or ended without its seats.")
    to_staff = _("That reservation has ended.")

    def __init__(self, because: type[Refused] | None = None) -> None:
        super().__init__(because.reason if because else "")
        self.because = because

    def said(self) -> str:
        return str(self.because.ended if self.because else self.sentence)


class ReservationExpired(
    Refused, reason="expired", code="reservation_expired", status=410, title="Reservation expired"
):
    """Its hold ran out."""

    sentence = _("The time to pay is over; nothing was charged.")
    to_staff = _("That hold has run out.")
    ended = _("The time to pay ran out; nothing was charged.")
    advice = _("Choose once more: with luck the places are still free.")


class Released(NotHeld, reason="released", code=NotHeld.code):
    """Its buyer gave it up."""

    ended = _("You gave it up; nothing was charged.")
    advice = ORDER_AGAIN


class CalledOff(SaleClosed, reason="session_cancelled", code=SaleClosed.code):
    """The house called its session off."""

    ended = _("The session was called off; nothing was charged.")
    heading = pgettext_lazy("a session", "Called off")


class BoxOffice(NotHeld, reason="box_office", code=NotHeld.code):
    """Staff called it off."""

    ended = _("The box office called the order off; nothing was charged.")
    advice = ORDER_AGAIN


class Failed(NotHeld, reason="failed", code=NotHeld.code):
    """It was set aside for a person, who then gave it up."""

    sentence = ended = _("Something went wrong on our side, and we are sorry. Nothing was charged.")
    advice = ORDER_AGAIN


class PaymentDeclined(Refused, reason="payment_declined", status=402, title="Payment declined"):
    """The gateway said no, or nothing in time. `why`: the gateway's reason."""

    sentence = _("The payment was declined; nothing was charged.")
    ended = _("The payment was declined; nothing was charged and the places were given back.")
    advice = _("Order again with another card.")
    shape = {"reason": {"anyOf": [{"type": "string", "enum": GATEWAYS_SAY}, TEXT]}}

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why

    def facts(self) -> dict[str, Any]:
        return {"reason": self.why}


class ExtensionLimit(Refused, reason="extension_limit", status=409, title="No more time"):
    """Extended as often, or as long, as the session allows."""

    sentence = _("It was extended as often and as far as this session allows.")


class PaymentInProgress(Refused, reason="payment_in_progress", status=409, title="Payment in progress"):
    """A payment for it is under way."""

    sentence = _("A payment for it is under way.")
    to_staff = _("Its buyer is paying just now. Try again in a moment.")


@dataclasses.dataclass(eq=False)
class AlreadyPaid(Refused, reason="already_paid", status=409, title="Already paid"):
    """`sale`: what it became."""

    sentence = _("It is paid for already.")
    to_staff = _("It is paid for, so it stays. Give its money back under Sales, or move its buyer to other seats.")
    shape = {"sale": {"$ref": "#/components/schemas/SaleOut"}}

    sale: uuid.UUID | None
