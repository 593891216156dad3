"""Tell why a ticket is void and since when, from the refund or payment that ended it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from sessions_app.models import Session
    from ticketing.models import Ticket

SESSION_CANCELLED = "session_cancelled"  # reason of a refund for a session that was called off


class VoidReason(TextChoices):
    GIVEN_BACK = "given_back", _("It was given back.")
    CALLED_OFF = "called_off", _("The session was called off.")
    NOT_COLLECTED = "not_collected", _("It was not paid for at the door in time.")
    BOX_OFFICE = "box_office", _("The box office took it back.")
    PAYMENT_FAILED = "payment_failed", _("The payment could not be taken.")
    PASSED_ON = "passed_on", _("It was passed on and has another code now.")  # for an old code of a valid ticket


@dataclass(frozen=True, slots=True)
class Void:
    reason: VoidReason
    at: dt.datetime


def of_ticket(ticket: Ticket) -> Void:
    """Return what made the ticket void."""
    refund = ticket.refund
    if refund is None:
        return Void(VoidReason.PAYMENT_FAILED, ticket.sale.payment.changed_at)
    return Void(reason_of(refund.reason, asked_by=refund.asked_by, buyer=ticket.sale.buyer), refund.asked_at)


def of_session(session: Session) -> Void | None:
    """Return what makes all tickets of a called-off session void, even before their refunds; None if it is on."""
    return Void(VoidReason.CALLED_OFF, session.cancelled_at) if session.cancelled_at else None


def reason_of(refund_reason: str | None, *, asked_by: UUID | None, buyer: UUID) -> VoidReason:
    """Return why tickets are void, by the refund's reason and the person who asked; no reason means no refund."""
    if refund_reason is None:
        return VoidReason.PAYMENT_FAILED
    if refund_reason == SESSION_CANCELLED:
        return VoidReason.CALLED_OFF
    if refund_reason == VoidReason.NOT_COLLECTED:
        return VoidReason.NOT_COLLECTED
    return VoidReason.GIVEN_BACK if asked_by == buyer or not refund_reason else VoidReason.BOX_OFFICE
