"""Define every refusal about payments, sales and tickets. As in `reservations/refusals`, each entry is an error."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from base.clock import rfc3339
from base.refusals import ID, TEXT, TIME, TIME_OR_NULL, Facts, Refused

if TYPE_CHECKING:
    from ticketing.voiding import Void

VOID = {"reason": {"$ref": "#/components/schemas/VoidReasonEnum"}, "voided_at": TIME}


# --- Payments and refunds


class UnknownMethod(Refused, reason="unknown_method", status=400, title="Unknown payment method"):
    sentence = _("This method of payment is not available here.")
    field = "payment.method"


class UnknownToken(Refused, reason="unknown_token", status=400, title="Unknown payment token"):
    """Refuse an unknown token. `known` lists those that the gateway accepts, if they are few."""

    sentence = _("The gateway does not accept this token.")
    field = "payment.token"

    def __init__(self, token: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(token)
        if known:
            self.hint = _("Must be one of %(tokens)s.") % {"tokens": ", ".join(known)}


class UnsignedWebhook(Refused, reason="bad_signature", status=400, title="Bad signature"):
    sentence = _("The gateway did not sign this message, or its signature is too old.")


class RefundClosed(Refused, reason="refund_closed", status=409, title="Too late to give tickets back"):
    """Refuse refunds of this session, or late ones. `until` is the end of the time for refunds."""

    sentence = _("Tickets of this session can no longer be given back.")
    shape = {"until": TIME_OR_NULL}

    def __init__(self, until: dt.datetime | None) -> None:
        super().__init__(until)
        self.until = until

    def facts(self) -> Facts:
        return {"until": self.until and rfc3339(self.until)}


class NothingToRefund(Refused, reason="nothing_to_refund", status=409, title="Nothing to give back"):
    """Refuse an empty refund. `tickets` are the obstacles; none means the whole sale."""

    sentence = _("The tickets are used, were already given back, or belong to another sale.")
    to_staff = _("The whole amount was already given back.")
    shape = {"tickets": {"type": "array", "items": ID}}

    def __init__(self, tickets: Sequence[uuid.UUID] = ()) -> None:
        super().__init__([str(ticket) for ticket in tickets])
        self.tickets = list(tickets)

    def facts(self) -> Facts:
        return {"tickets": [str(ticket) for ticket in self.tickets]}


# --- Transfers


class UnknownReceiver(Refused, reason="unknown_receiver", status=400, title="Unknown receiver"):
    sentence = _("There is no account with this name.")
    field = "username"


class CannotPassOn(Refused, reason="cannot_pass_on", status=409, title="Cannot be passed on"):
    """Refuse a transfer. `why`: used, void, called_off, over (the session ended) or own (it is that buyer's)."""

    sentence = _(
        "The ticket cannot be passed on: it is used or void, its session is over or was called off, or this buyer "
        "already has it."
    )
    shape = {"reason": {"type": "string", "enum": ["used", "void", "called_off", "over", "own"]}}

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def facts(self) -> Facts:
        return {"reason": self.why}


# --- At the door


class UnknownCode(Refused, reason="unknown_code", status=404, title="Unknown code"):
    sentence = _("No ticket has this code.")
    field = "code"


class ForgedCode(Refused, reason="bad_signature", status=400, title="Not signed by us"):
    """Refuse a code that looks like a ticket's but is not signed by one of our keys."""

    sentence = _("The code is damaged or forged.")
    field = "code"


class TicketVoid(Refused, reason="ticket_void", status=409, title="The ticket is void"):
    """Refuse a void ticket. `void` says why and since when: the ticket's own reason, or a transfer."""

    sentence = _("This ticket is void. It no longer opens any door.")
    shape = VOID

    def __init__(self, void: Void) -> None:
        super().__init__(str(void.reason))
        self.void = void

    def facts(self) -> Facts:
        return {"reason": self.void.reason.value, "voided_at": rfc3339(self.void.at)}


class NoCodeAnyMore(TicketVoid, reason=TicketVoid.reason, status=410):
    """Refuse the picture of a void ticket's code."""

    sentence = _("The ticket is void and no longer has a code.")


class OtherSession(Refused, reason="other_session", status=409, title="For another session"):
    """Refuse a ticket of another session, which `session` names."""

    sentence = _("The ticket is for another session.")
    shape = {"session": ID}

    def __init__(self, session: uuid.UUID) -> None:
        super().__init__(str(session))
        self.session = session

    def facts(self) -> Facts:
        return {"session": str(self.session)}


@dataclasses.dataclass(eq=False)
class NotYet(Refused, reason="not_yet", status=409, title="Not yet"):
    sentence = _("The doors of this session are not open yet. To admit the ticket anyway, send it again with `anyway`.")
    shape = {"opens_at": TIME, "starts_at": TIME}

    opens_at: dt.datetime
    starts_at: dt.datetime

    def facts(self) -> Facts:
        return {"opens_at": rfc3339(self.opens_at), "starts_at": rfc3339(self.starts_at)}


@dataclasses.dataclass(eq=False)
class TooLate(Refused, reason="too_late", status=409, title="Too late"):
    sentence = _("The session is over. To admit the ticket anyway, send it again with `anyway`.")
    shape = {"ended_at": TIME}

    ended_at: dt.datetime

    def facts(self) -> Facts:
        return {"ended_at": rfc3339(self.ended_at)}


@dataclasses.dataclass(eq=False)
class SessionCancelled(Refused, reason="session_cancelled", status=409, title="The session was called off"):
    sentence = _("The session was called off, so its tickets are not valid.")
    shape = {"cancelled_at": TIME}

    cancelled_at: dt.datetime

    def facts(self) -> Facts:
        return {"cancelled_at": rfc3339(self.cancelled_at)}


@dataclasses.dataclass(eq=False)
class PaymentDue(Refused, reason="payment_due", status=409, title="To be paid first"):
    """Refuse an unpaid ticket. `amount` is in minor units of `currency`."""

    sentence = _("The ticket must be paid at the door. Take the money, then send the ticket again with `paid`.")
    shape = {"due": {"$ref": "#/components/schemas/Money"}}

    amount: int
    currency: str

    def facts(self) -> Facts:
        return {"due": {"amount": self.amount, "currency": self.currency}}


class AlreadyUsed(Refused, reason="already_used", status=409, title="Already used"):
    """Refuse a used ticket. `used_at` and `gate` say when and where it was used."""

    sentence = _("This ticket was already used.")
    shape = {"used_at": TIME, "gate": TEXT}

    def __init__(self, *, used_at: dt.datetime, gate: str) -> None:
        super().__init__(f"{used_at:%H:%M} {gate}")
        self.used_at = used_at
        self.gate = gate

    def facts(self) -> Facts:
        return {"used_at": rfc3339(self.used_at), "gate": self.gate}


ENTRIES: tuple[type[Refused], ...] = tuple(
    entry
    for entry in globals().values()
    if isinstance(entry, type) and issubclass(entry, Refused) and hasattr(entry, "reason")
)
