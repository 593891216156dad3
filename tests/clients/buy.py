"""Buy two seats, be refused one, order and refund, with the client of openapi-python-client.

tests/clients/test_python.py checks its types and runs it: `python buy.py http://127.0.0.1:8000 SESSION`.
"""

import sys
from uuid import UUID, uuid4

from frontrow_client import AuthenticatedClient, Client
from frontrow_client.api.buying_in_one_step import orders_create
from frontrow_client.api.catalogue import sessions_retrieve, sessions_seats_retrieve
from frontrow_client.api.holding_seats import reservations_create, reservations_read
from frontrow_client.api.sales_and_tickets import reservations_pay_create, sales_refund, sales_tickets_pdf
from frontrow_client.api.who_is_asking import auth_guest
from frontrow_client.models import (
    AlreadyPaidProblem,
    AskFields,
    MethodEnum,
    OrderFields,
    OrderOut,
    OrderOutStatusEnum,
    Paid,
    PayFields,
    PaymentDeclinedProblem,
    PaymentMeans,
    RefundFields,
    Refunding,
    ReservationOut,
    ReservationStatus,
    SaleOut,
    SaleOutStatusEnum,
    SeatMapOut,
    SeatOutStatusEnum,
    SeatsUnavailableProblem,
    SessionDetailOut,
    Tokens,
    UnknownSeatProblem,
)

WAIT = "wait=10"


def guest(site: str) -> AuthenticatedClient:
    tokens = auth_guest.sync(client=Client(base_url=site))
    assert isinstance(tokens, Tokens), tokens
    return AuthenticatedClient(base_url=site, token=tokens.access)


def free_seats(client: AuthenticatedClient, session: UUID) -> list[str]:
    found = sessions_seats_retrieve.sync(session, client=client)
    assert isinstance(found, SeatMapOut), found
    return [seat.label for seat in found.seats if seat.status == SeatOutStatusEnum.FREE]


def means(token: str) -> PaymentMeans:
    return PaymentMeans(method=MethodEnum.FAKE, token=token)


def buy(client: AuthenticatedClient, session: UUID, seats: list[str]) -> SaleOut:
    key = str(uuid4())
    asked = reservations_create.sync_detailed(
        client=client, body=AskFields(session=session, seats=seats), idempotency_key=key, prefer=WAIT
    )
    held = asked.parsed
    assert isinstance(held, ReservationOut), held
    assert held.status == ReservationStatus.HELD
    assert held.expires_at is not None
    assert asked.headers["location"].endswith(str(held.id))
    declined = reservations_pay_create.sync(held.id, client=client, body=PayFields(means("declined")), prefer=WAIT)
    assert isinstance(declined, PaymentDeclinedProblem), declined
    assert declined.reason == "card_declined"
    paid = reservations_pay_create.sync(held.id, client=client, body=PayFields(means("ok")), prefer=WAIT)
    assert isinstance(paid, Paid), paid
    again = reservations_pay_create.sync(held.id, client=client, body=PayFields(means("ok")), prefer=WAIT)
    assert isinstance(again, AlreadyPaidProblem), again
    assert again.sale.id == paid.sale.id
    now = reservations_read.sync(held.id, client=client)
    assert isinstance(now, ReservationOut), now
    assert now.sale is not None
    assert now.sale.number == paid.sale.number
    return paid.sale


def is_refused(client: AuthenticatedClient, session: UUID, seat: str) -> None:
    refused = reservations_create.sync(client=client, body=AskFields(session=session, seats=[seat]), prefer=WAIT)
    assert isinstance(refused, SeatsUnavailableProblem), refused
    assert [(conflict.seat, conflict.reason.value) for conflict in refused.conflicts] == [(seat, "sold")]
    unknown = reservations_create.sync(client=client, body=AskFields(session=session, seats=["Z99"]))
    assert isinstance(unknown, UnknownSeatProblem), unknown
    assert unknown.errors[0].field == "seats"


def order(client: AuthenticatedClient, session: UUID, seat: str) -> None:
    fields = OrderFields(session=session, seats=[seat], payment=means("ok"))
    key = str(uuid4())
    first = orders_create.sync_detailed(client=client, body=fields, idempotency_key=key, prefer=WAIT)
    assert isinstance(first.parsed, OrderOut), first.parsed
    assert first.parsed.status == OrderOutStatusEnum.COMPLETED
    assert first.parsed.sale is not None
    assert first.parsed.sale.due.amount == 0
    replayed = orders_create.sync_detailed(client=client, body=fields, idempotency_key=key, prefer=WAIT)
    assert isinstance(replayed.parsed, OrderOut), replayed.parsed
    assert replayed.parsed.id == first.parsed.id
    assert replayed.headers["idempotent-replayed"] == "true"


def give_back(client: AuthenticatedClient, sale: SaleOut) -> None:
    paper = sales_tickets_pdf.sync_detailed(sale.id, client=client)
    assert paper.content.startswith(b"%PDF-")
    given = sales_refund.sync(sale.id, client=client, body=RefundFields(tickets=[sale.tickets[0].id]))
    assert isinstance(given, Refunding), given
    assert given.sale.status == SaleOutStatusEnum.PARTLY_REFUNDED


def main(site: str, session: UUID) -> None:
    client = guest(site)
    shown = sessions_retrieve.sync(session, client=client)
    assert isinstance(shown, SessionDetailOut), shown
    assert shown.ticket_types[0].price.currency == "BRL"
    first, second, third, *_others = free_seats(client, session)
    sale = buy(client, session, [first, second])
    is_refused(guest(site), session, first)
    order(client, session, third)
    give_back(client, sale)
    sys.stdout.write(f"{sale.number}\n")


if __name__ == "__main__":
    main(sys.argv[1], UUID(sys.argv[2]))
