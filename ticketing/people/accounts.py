"""Accounts, and the guests who become them."""

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
    """The guest is the user from now on, with all that the guest asked for, holds and bought. Again is harmless.

    A guest who became another account before stays that one. So does an id that is an account's own.
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
    # What was passed on to the person who bought it, under either name, is simply the buyer's.
    Sale.objects.filter(buyer=account, tickets__holder=account).note_change()
    Ticket.objects.filter(holder=account, sale__buyer=account).update(holder=None)


def is_over(guest: uuid.UUID) -> bool:
    """Whether the guest became an account, so that the guest's own credentials end."""
    return people.account_of(guest) != guest or User.objects.filter(pk=guest).exists()


def end_credentials(account: uuid.UUID) -> None:
    """From now on no cookie, refresh token or session of before counts."""
    User.objects.filter(pk=account).update(generation=F("generation") + 1)
