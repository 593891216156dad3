"""Handle accounts, and guests who become accounts."""

from __future__ import annotations

import uuid
from functools import partial

from django.db import transaction
from django.db.models import F

from reservations import people
from reservations.operations import joining
from reservations.operations.queued import with_retries
from ticketing.models import Refund, Sale, Ticket, User


def adopt_guest(*, guest: uuid.UUID, user: User) -> None:
    """Make the guest this user from now on, with all its requests, holds and purchases. It is safe to repeat.

    A guest who became another account before stays that one, and so does an id that belongs to an account.
    """
    if not User.objects.filter(pk=guest).exists():
        with_retries(partial(_adopt_guest, guest, user.pk))


@transaction.atomic
def _adopt_guest(guest: uuid.UUID, account: uuid.UUID) -> None:
    if not joining.join(guest=guest, account=account):
        return
    Sale.objects.filter(buyer=guest).update(buyer=account)
    Refund.objects.filter(asked_by=guest, sale__buyer=account).update(asked_by=account)
    Ticket.objects.filter(holder=guest).update(holder=account)
    # A ticket that was transferred to its own buyer, under either name, is simply the buyer's.
    Sale.objects.filter(buyer=account, tickets__holder=account).note_change()
    Ticket.objects.filter(holder=account, sale__buyer=account).update(holder=None)


def is_over(guest: uuid.UUID) -> bool:
    """Tell whether the guest became an account, which ends the guest's own credentials."""
    return people.account_of(guest) != guest or User.objects.filter(pk=guest).exists()


def end_credentials(account: uuid.UUID) -> None:
    """End all cookies, refresh tokens and sessions of the account."""
    User.objects.filter(pk=account).update(generation=F("generation") + 1)
