"""Keep double entry in minor units: how much moved from which account into which. Entries are added, never changed.

| what happened | debit | credit |
|---|---|---|
| money was captured for a sale | gateway | revenue, without the next two |
| of it, the tickets' booking fee | gateway | booking |
| of it, the tickets' tax | gateway | taxes |
| the gateway kept a fee of it | fees | gateway |
| a refund was promised | refunds, without the next two | owed |
| of it, the tickets' booking fee | booking | owed |
| of it, the tickets' tax | taxes | owed |
| a refund was paid back | owed | gateway |
| or handed out at the counter | owed | cash, or gateway on the card terminal |
| a sale is to be paid at the door | due | revenue, booking and taxes, as above |
| a ticket of it was paid there | cash | due |
| or given back before | refunds, booking and taxes | due |
| money was captured for nothing | gateway | owed |
| and given back | owed | gateway |

Payments in cash use `cash` where the table says gateway. So revenue less refunds, plus booking fees and taxes, is the
amount of all sales that were not refunded. `taxes` is owed to the state, `gateway` is what the gateways owe the house,
and `owed` is what the house owes its buyers. PostgreSQL refuses a posting that does not sum to zero.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Sequence

from base.ids import uuid7
from base.rows import as_json, execute
from ticketing.models import Account, Ticket
from ticketing.payments.gateways import registry

INSERT = """
INSERT INTO ticketing_ledgerentry (posting, account, amount, currency, payment_id, refund_id, posted_at)
SELECT posting, account, amount, currency, payment_id, refund_id, clock_timestamp()
FROM jsonb_to_recordset(%s) AS new (
  posting uuid, account text, amount bigint, currency text, payment_id uuid, refund_id uuid)
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Move `amount` out of `credit` into `debit`."""

    debit: Account
    credit: Account
    amount: int
    currency: str
    payment: uuid.UUID
    refund: uuid.UUID | None = None

    def entries(self) -> list[dict[str, object]]:
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
    """Write the postings in the transaction of the change that they describe. Skip those with amount zero."""
    entries = [entry for posting in postings if posting.amount for entry in posting.entries()]
    if entries:
        execute(INSERT, as_json(entries))


def purse_of(method: str) -> Account:
    """Return the account that holds money of this means."""
    return Account.CASH if registry.is_cash(method) else Account.GATEWAY


def parts_of(tickets: Iterable[Ticket]) -> dict[Account, int]:
    """Split the price of tickets by account."""
    sold = list(tickets)
    fees, taxes = sum(ticket.fee for ticket in sold), sum(ticket.tax for ticket in sold)
    whole = sum(ticket.price for ticket in sold)
    return split(whole, fees=fees, taxes=taxes)


def split(whole: int, *, fees: int, taxes: int) -> dict[Account, int]:
    """Split an amount by account."""
    return {Account.REVENUE: whole - fees - taxes, Account.BOOKING: fees, Account.TAXES: taxes}
