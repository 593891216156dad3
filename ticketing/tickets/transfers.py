"""Transfer a ticket to another person: it gets a new code, and the old code opens no door."""

from __future__ import annotations

import datetime as dt
import uuid

from django.db import transaction

from base.clock import db_now
from realtime import events
from realtime.events import NewEvent
from reservations import people
from ticketing import sale_locks
from ticketing.models import Ticket, TicketStatus, Transfer, User, new_code
from ticketing.payments import refunds
from ticketing.queries import tickets_of
from ticketing.refusals import CannotPassOn, UnknownReceiver


def account(name: str) -> uuid.UUID:
    """Return the buyer with that account name. Raises: UnknownReceiver."""
    try:
        found = User.objects.get_by_natural_key(name)
    except User.DoesNotExist:
        raise UnknownReceiver from None
    if not found.is_active:
        raise UnknownReceiver
    return found.pk


def obstacle(ticket: Ticket, *, now: dt.datetime) -> str:
    """Return why the ticket cannot be transferred (used, void, called_off, over); empty if its owner may do it."""
    if ticket.status != TicketStatus.VALID:
        return ticket.status
    if ticket.session.cancelled_at is not None:
        return "called_off"
    return "over" if ticket.session.ends_at <= now and not _may_go_back(ticket, now=now) else ""


def _may_go_back(ticket: Ticket, *, now: dt.datetime) -> bool:
    """Tell whether its buyer, with the ticket in hand, could still get a refund."""
    until = refunds.refundable_until(ticket.session, asked_at=ticket.sale.reservation.accepted_at)
    return until is not None and now <= until


@transaction.atomic(durable=True)
def pass_on(*, ticket_id: uuid.UUID, giver: uuid.UUID, receiver: uuid.UUID) -> Ticket:
    """Transfer the ticket. Raises: Ticket.DoesNotExist, CannotPassOn."""
    bought_by = tickets_of(giver).filter(pk=ticket_id).values_list("sale__buyer", flat=True)
    people.lock_shared([receiver, *bought_by])  # so that a buyer who signs in meanwhile is not taken for another holder
    receiver = people.account_of(receiver)
    ticket = sale_locks.lock_ticket(tickets_of(giver), ticket_id)
    reason = obstacle(ticket, now=db_now()) or ("own" if receiver == giver else "")
    if reason:
        raise CannotPassOn(reason)
    passed = Transfer.objects.create(ticket=ticket, code=ticket.code, giver=giver, receiver=receiver)
    ticket.holder = receiver if receiver != ticket.sale.buyer else None
    ticket.code = new_code()
    ticket.save(update_fields=["holder", "code"])
    facts = {"ticket": str(ticket.pk), "transfer": str(passed.pk)}
    events.record_many(
        [
            NewEvent(event="ticket.passed_on", session=ticket.session_id, buyer=giver, facts=facts),
            NewEvent(event="ticket.received", session=ticket.session_id, buyer=receiver, facts=facts),
        ]
    )
    return ticket
