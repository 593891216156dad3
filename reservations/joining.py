"""A guest signs in or registers: all that the guest asked for, holds and bought is the account's from then on.

See the notes in people.py.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

import structlog
from django.db import transaction

from reservations import allocation, claims, people
from reservations.claims import NoClaims
from reservations.models import JoinedGuest

log = structlog.get_logger(__name__)


@transaction.atomic
def join(*, guest: UUID, account: UUID) -> bool:
    """Give the account what the guest has, and all that will come of the guest's requests. Again is harmless.

    False where the guest became another account before: then nothing changes.
    """
    people.lock_alone(guest)
    known, _is_new = JoinedGuest.objects.get_or_create(guest=guest, defaults={"account": account})
    if known.account != account:
        return False
    counted = allocation.change_buyer(of=guest, to=account)
    transaction.on_commit(partial(_tell_redis, guest, account, counted))
    return True


def _tell_redis(guest: UUID, account: UUID, counted: claims.Counted) -> None:
    try:
        claims.join(guest=guest, account=account, counted=counted)
    except NoClaims as error:  # PostgreSQL knows; see Note [One person, two names]
        log.info("joining.without_redis", error=repr(error.__cause__))
