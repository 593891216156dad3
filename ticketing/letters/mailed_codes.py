"""Mail a code to a sale's buyer who opened it by a letter's link and wants to do more than read.

Note [Mailed codes]
No usable code is stored. The worker that mails it and the request that receives it compute it from the id of its row
and the site's secret key. The newest code is valid for ten minutes and five attempts. A sale gets five codes an hour,
so that a code cannot be guessed and a mailbox cannot be flooded. A visitor who knows the code may act for the sale's
buyer in that browser for a quarter of an hour (`views`).
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from django.db import transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from base.clock import db_now
from realtime import events
from ticketing import sale_locks
from ticketing.models import MailedCode

LASTS = dt.timedelta(minutes=10)
TRIES = 5
AN_HOUR = 5
DIGITS = 6


class TooManyCodes(Exception):
    """Report that the sale already got its codes of this hour."""


class WrongCode(Exception):
    """Refuse a code. `left` is how many attempts the newest code has; with 0 the buyer needs a new one."""

    def __init__(self, left: int) -> None:
        super().__init__(left)
        self.left = left


def digits_of(row: MailedCode) -> str:
    """Return the code as it is mailed."""
    made = salted_hmac("ticketing.letters.mailed_codes", str(row.pk), algorithm="sha256").hexdigest()
    return f"{int(made, 16) % 10**DIGITS:0{DIGITS}}"


def ends_at(row: MailedCode) -> dt.datetime:
    return row.made_at + LASTS


@transaction.atomic(durable=True)
def ask(*, sale_id: UUID) -> None:
    """Mail a code to the sale's buyer. Raises: Sale.DoesNotExist, TooManyCodes."""
    sale = sale_locks.lock_sale(sale_id)
    now = db_now()
    lately = MailedCode.objects.filter(sale=sale, made_at__gt=now - dt.timedelta(hours=1))
    if lately.count() >= AN_HOUR:
        raise TooManyCodes
    MailedCode.objects.filter(sale=sale, made_at__lte=now - dt.timedelta(days=1)).delete()
    row = MailedCode.objects.create(sale=sale, made_at=now)
    facts = {"sale": str(sale.pk), "mailed_code": str(row.pk)}
    events.record(event="sale.code_asked", session=sale.session_id, buyer=sale.buyer, facts=facts)


def redeem(*, sale_id: UUID, code: str) -> None:
    """Use up the newest code of the sale. Raises: WrongCode."""
    left = _redeem(sale_id, "".join(code.split()))
    if left is not None:
        raise WrongCode(left)


@transaction.atomic(durable=True)
def _redeem(sale_id: UUID, code: str) -> int | None:
    """Count the attempt. Return None if the code is right, otherwise how many attempts are left."""
    rows = MailedCode.objects.select_for_update(no_key=True).filter(sale=sale_id)
    row = rows.order_by("-made_at").first()
    if row is None or row.used_at is not None or row.tries >= TRIES or ends_at(row) <= db_now():
        return 0
    row.tries += 1
    right = constant_time_compare(code, digits_of(row))
    if right:
        row.used_at = db_now()
    row.save(update_fields=["tries", "used_at"])
    return None if right else TRIES - row.tries
