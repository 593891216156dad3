"""Sign links in letters: a proof in the address opens a sale or one ticket on any device, only for reading.

Note [What a proof says]
A proof is a signature over the sale's id and its number `links`. A ticket's proof also signs its short code, which
changes at a transfer. So an address holds no personal data and nothing is stored. A proof ends when the number rises:
after the account's address changed, or the account was closed or deleted (`User`), or staff sent new links (`renew`). A
sale's proof opens those of its tickets that its buyer still has. Refunds and transfers need more than a proof: see
mailed_codes.py.
"""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils.http import urlencode

from realtime import events
from realtime.events import NewEvent
from ticketing import sale_locks
from ticketing.models import Sale, Ticket, TicketStatus

PARAMETER = "proof"

_signer = signing.Signer(salt="ticketing.tickets.links")


def of_sale(sale: Sale) -> str:
    return _signer.signature(_claim_of_sale(sale))


def of_ticket(ticket: Ticket) -> str:
    return _signer.signature(_claim_of_ticket(ticket))


def opens_sale(proof: str, sale: Sale) -> bool:
    return _signs(proof, _claim_of_sale(sale))


def opens_ticket(proof: str, ticket: Ticket) -> bool:
    """Accept the ticket's own proof, and its sale's proof while the buyer has the ticket."""
    if _signs(proof, _claim_of_ticket(ticket)):
        return True
    return ticket.holder is None and opens_sale(proof, ticket.sale)


def to(name: str, row: Sale | Ticket) -> str:
    """Return the full address of a page of this sale or ticket, with its proof."""
    proof = of_sale(row) if isinstance(row, Sale) else of_ticket(row)
    return f"{settings.SITE_URL}{reverse(name, args=[row.pk])}?{urlencode({PARAMETER: proof})}"


@transaction.atomic(durable=True)
def renew(*, sale_id: UUID) -> None:
    """End the links of a sale and its tickets, and send new ones to buyer and holders. Raises: Sale.DoesNotExist."""
    sale = sale_locks.lock_sale(sale_id)
    Sale.objects.filter(pk=sale_id).update(links=F("links") + 1)
    Ticket.objects.filter(sale=sale).update(links=F("links") + 1)
    facts = {"sale": str(sale_id)}
    held = Ticket.objects.filter(sale=sale, holder__isnull=False).exclude(status=TicketStatus.VOID).order_by("pk")
    events.record_many(
        [
            NewEvent(event="sale.links_renewed", session=sale.session_id, buyer=sale.buyer, facts=facts),
            *(
                NewEvent(
                    event="ticket.links_renewed",
                    session=sale.session_id,
                    buyer=ticket.holder,
                    facts={**facts, "ticket": str(ticket.pk)},
                )
                for ticket in held
            ),
        ]
    )


def _claim_of_sale(sale: Sale) -> str:
    return f"sale {sale.pk} {sale.links}"


def _claim_of_ticket(ticket: Ticket) -> str:
    return f"ticket {ticket.pk} {ticket.links} {ticket.code}"


def _signs(proof: str, claim: str) -> bool:
    """Verify a proof in constant time, also with SECRET_KEY_FALLBACKS."""
    try:
        return _signer.unsign(f"{claim}:{proof}") == claim
    except signing.BadSignature:
        return False
