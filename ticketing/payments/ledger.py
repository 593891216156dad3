"""Double entry, in minor units: what moved, out of which account into which. Nothing is ever changed, only added.

| what happened | debit | credit |
|---|---|---|
| money was captured for a sale | gateway | revenue, without the next two |
| of it, what its tickets say is booking fee | gateway | booking |
| of it, what its tickets say is tax | gateway | taxes |
| the gateway kept a fee of it | fees | gateway |
| a refund was promised | refunds, without the next two | owed |
| of it, what its tickets say is booking fee | booking | owed |
| of it, what its tickets say is tax | taxes | owed |
| a refund was paid back | owed | gateway |
| or handed out at the counter | owed | cash, or gateway on the card terminal |
| a sale is to be paid at the door | due | revenue, booking and taxes, as above |
| a ticket of it was paid there | cash | due |
| or given back before | refunds, booking and taxes | due |
| money was captured for nothing | gateway | owed |
| and given back | owed | gateway |

What was paid in cash is in `cash` where the table says gateway. So revenue less refunds, plus booking fees and taxes, is what was sold and not given back; `taxes` is owed to the state, `gateway` what the gateways owe the house, `owed` what the house owes
its buyers. PostgreSQL refuses a posting that doesn't sum to zero.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from base.ids import uuid7
from base.rows import as_json, execute
from ticketing.models import Account, Ticket
from ticketing.payments.gateways import INTO_THE_TILL

INSERT = """
INSERT INTO ticketing_ledgerentry (posting, account, amount, currency, payment_id, refund_id, posted_at)
SELECT posting, account, amount, currency, payment_id, refund_id, clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (posting uuid, account text, amount bigint, currency text, payment_id uuid, refund_id uuid)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """`amount` moves out of `credit` into `debit`."""

    debit: Account
    credit: Account
    amount: int
    currency: str
    payment: uuid.UUID
    refund: uuid.UUID | None = None

    def entries(self) -> list[dict[str, Any]]:
        both = {
            "posting": uuid7(),
            "currency": self.currency,
            "payment_id": self.payment,
            "refund_id": self.refund,
        }
        return [
            {**both, "account": self.debit.value, "amount": self.amount},
            {**both, "account": self.credit.value, "amount": -self.amount},
        ]


def post(postings: Sequence[Posting]) -> None:
    """In the caller's transaction, with what they tell of. Those of nothing at all are left out."""
    entries = [entry for posting in postings if posting.amount for entry in posting.entries()]
    if entries:
        execute(INSERT, as_json(entries))


def purse_of(method: str) -> Account:
    """Where money that was taken by this means lies."""
    return Account.CASH if method in INTO_THE_TILL else Account.GATEWAY


def parts_of(tickets: Iterable[Ticket]) -> dict[Account, int]:
    """What tickets cost, by where it belongs."""
    sold = list(tickets)
    fees, taxes = sum(ticket.fee for ticket in sold), sum(ticket.tax for ticket in sold)
    whole = sum(ticket.price for ticket in sold)
    return split(whole, fees=fees, taxes=taxes)


def split(whole: int, *, fees: int, taxes: int) -> dict[Account, int]:
    """What was paid, by where it belongs."""
    return {Account.REVENUE: whole - fees - taxes, Account.BOOKING: fees, Account.TAXES: taxes}
