"""Why a ticket is void, and since when: read from the refund or the payment that ended it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from sessions_app.models import Session
    from ticketing.models import Refund, Ticket

SESSION_CANCELLED = "session_cancelled"  # the reason of a refund that calling off began


class VoidReason(TextChoices):
    GIVEN_BACK = "given_back", _("It was given back.")
    CALLED_OFF = "called_off", _("The session was called off.")
    NOT_COLLECTED = "not_collected", _("It was not paid for at the door in time.")
    BOX_OFFICE = "box_office", _("The box office took it back.")
    PAYMENT_FAILED = "payment_failed", _("Its payment could not be taken.")


@dataclass(frozen=True, slots=True)
class Void:
    reason: VoidReason
    at: dt.datetime


class TicketIsVoid(Exception):
    """`void`: why and since when; there is no code to show any more."""

    def __init__(self, void: Void) -> None:
        super().__init__(str(void.reason))
        self.void = void


def of_ticket(ticket: Ticket) -> Void:
    """Return what ended a void ticket."""
    refund = ticket.refund
    if refund is None:
        return Void(VoidReason.PAYMENT_FAILED, ticket.sale.payment.changed_at)
    return Void(_reason(refund, ticket), refund.asked_at)


def of_session(session: Session) -> Void | None:
    """Return what ends every ticket of a session that was called off, before its refund is promised too; None: it is on."""
    return Void(VoidReason.CALLED_OFF, session.cancelled_at) if session.cancelled_at else None


def _reason(refund: Refund, ticket: Ticket) -> VoidReason:
    if refund.reason == SESSION_CANCELLED:
        return VoidReason.CALLED_OFF
    if refund.reason == VoidReason.NOT_COLLECTED:
        return VoidReason.NOT_COLLECTED
    by_buyer = refund.asked_by == ticket.sale.buyer or not refund.reason
    return VoidReason.GIVEN_BACK if by_buyer else VoidReason.BOX_OFFICE
