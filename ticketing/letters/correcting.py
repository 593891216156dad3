"""The address of a sale is corrected: what went to the wrong one opens nothing any more, and the tickets go to the right one."""

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
    """Write to this address from now on, and send the tickets there; return the one until now.

    Links and mailed codes that went to the old one are over. Tickets that were passed on are their holders', who have links of their own.
    Raises: Sale.DoesNotExist.
    """
    Payment.objects.filter(sale=sale_id).update(
        email=email
    )  # before the sale is locked; money that comes back is told there
    sale = sale_locks.lock_sale(sale_id)
    before, sale.email = sale.email, email
    sale.links += 1
    sale.save(update_fields=["email", "links"])
    Ticket.objects.filter(sale=sale, holder=None).update(links=F("links") + 1)
    MailedCode.objects.filter(sale=sale, used_at=None).update(used_at=db_now())
    facts = {"sale": str(sale.pk), "reservation": str(sale.reservation_id)}
    events.record(event="sale.address_corrected", session=sale.session_id, buyer=sale.buyer, facts=facts)
    return before
