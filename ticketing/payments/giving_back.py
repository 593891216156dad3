"""Show the effects of a refund before it is made: how many tickets, how much money, which way, and which letters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext, ngettext

from reservations.models import Reservation, Status
from sessions_app.models import Session
from sessions_app.staff.questions import Question
from sessions_app.templatetags.frontrow import money
from ticketing.models import PaymentStatus, Ticket, TicketStatus, User
from ticketing.payments.gateways import registry

SETTLED = [PaymentStatus.CAPTURED, PaymentStatus.DUE]  # payments whose tickets can be refunded; see refunds.ask_refund
Fact = tuple[str, str]


@dataclass(frozen=True)
class GivingBack:
    """Hold valid tickets, each with its sale and payment."""

    tickets: Sequence[Ticket]

    @classmethod
    def of(cls, chosen: QuerySet[Ticket]) -> GivingBack:
        live = chosen.exclude(status=TicketStatus.VOID).filter(sale__payment__status__in=SETTLED)
        return cls(list(live.select_related("sale__payment").order_by("sale_id", "pk")))

    @property
    def by_sale(self) -> dict[UUID, list[UUID]]:
        found: dict[UUID, list[UUID]] = defaultdict(list)
        for ticket in self.tickets:
            found[ticket.sale_id].append(ticket.pk)
        return found

    @property
    def about(self) -> list[object]:
        """Return the facts of the question, to compare them when it is answered."""
        return [(ticket.pk, ticket.price, ticket.due, ticket.holder) for ticket in self.tickets]

    def facts(self) -> list[Fact]:
        paid = [ticket for ticket in self.tickets if not ticket.due]
        by_hand = [ticket for ticket in paid if registry.is_handed_back(ticket.sale.payment.method)]
        due = [ticket for ticket in self.tickets if ticket.due]
        facts = [
            (gettext("Sales"), str(len(self.by_sale))),
            (gettext("Tickets that become void"), str(len(self.tickets))),
            (gettext("Money to be given back"), amounts(paid)),
        ]
        if by_hand:
            facts.append((gettext("At the counter, included above"), amounts(by_hand)))
        if due:
            facts.append((gettext("No longer to be paid at the door"), amounts(due)))
        return [*facts, (gettext("People who get a letter"), self.told())]

    def told(self) -> str:
        """Count the letters: one to the buyer of each sale, one to each receiver of transferred tickets."""
        sales = {ticket.sale_id: ticket.sale for ticket in self.tickets}
        accounts = User.objects.filter(pk__in={sale.buyer for sale in sales.values() if not sale.email})
        known = set(accounts.exclude(email="").values_list("pk", flat=True))
        buyers = sum(1 for sale in sales.values() if sale.email or sale.buyer in known)
        receivers = len({ticket.holder for ticket in self.tickets if ticket.holder})
        said = [ngettext("%(number)d buyer", "%(number)d buyers", buyers) % {"number": buyers}] if buyers else []
        if receivers:
            text = ngettext(
                "%(number)d person with tickets that were passed on",
                "%(number)d people with tickets that were passed on",
                receivers,
            )
            said.append(text % {"number": receivers})
        if silent := len(sales) - buyers:
            text = ngettext("%(number)d buyer left no address", "%(number)d buyers left no address", silent)
            said.append(text % {"number": silent})
        return "; ".join(said) or gettext("no one")


def calling_off(sessions: Sequence[Session]) -> Question:
    """Ask for confirmation with the effects of calling these sessions off."""
    giving = GivingBack.of(Ticket.objects.filter(session__in=sessions))
    held = Reservation.objects.filter(
        session__in=sessions, status__in=[Status.QUEUED, Status.HELD, Status.PAYING]
    ).count()
    return Question(
        title=gettext("Call the session off and give all money back?"),
        facts=[
            (gettext("Sessions"), "; ".join(str(session) for session in sessions)),
            *giving.facts(),
            (gettext("Holds and orders that end"), str(held)),
        ],
        warning=gettext(
            "A session that was called off stays called off. Its tickets no longer open any door, and all ticket "
            "holders get a message."
        ),
        button=gettext("Call off and give the money back"),
        about=[*(session.pk for session in sessions), *giving.about],
    )


def amounts(tickets: Sequence[Ticket]) -> str:
    """Write the sums of the tickets, one per currency."""
    sums: Counter[str] = Counter()
    for ticket in tickets:
        sums[ticket.sale.currency] += ticket.price
    return in_currencies(sums)


def in_currencies(sums: Counter[str]) -> str:
    return ", ".join(money(amount, currency) for currency, amount in sorted(sums.items())) or gettext("nothing")
