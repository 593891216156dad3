"""Correct the address of a sale: links that went to the wrong address end, and the tickets go to the right one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import F

from base.clock import db_now
from realtime import events
from ticketing import sale_locks
from ticketing.models import MailedCode, Payment, Ticket


@transaction.atomic
def correct_address(*, sale_id: UUID, email: str) -> str:
    """Change the sale's address, send the tickets there, and return the address until now.

    Links and mailed codes that went to the old address end. Transferred tickets stay with their holders, who have links
    of their own.
    Raises: Sale.DoesNotExist.
    """
    Payment.objects.filter(sale=sale_id).update(
        email=email
    )  # before the sale is locked; letters about refunds go there
    sale = sale_locks.lock_sale(sale_id)
    before, sale.email = sale.email, email
    sale.links += 1
    sale.save(update_fields=["email", "links"])
    Ticket.objects.filter(sale=sale, holder=None).update(links=F("links") + 1)
    MailedCode.objects.filter(sale=sale, used_at=None).update(used_at=db_now())
    facts = {"sale": str(sale.pk), "reservation": str(sale.reservation_id)}
    events.record(event="sale.address_corrected", session=sale.session_id, buyer=sale.buyer, facts=facts)
    return before
