"""Show the history of an order in sequence: from its rows, the event log and notes of the box office."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from realtime.models import Event
from reservations.models import Reservation
from sessions_app.templatetags.frontrow import money
from ticketing.models import Order, Payment, Refund, Sale

SLACK = dt.timedelta(minutes=1)  # clocks of several machines wrote these times
LONGEST = 200  # lines
NAMES = {
    "reservation.held": _("Places held"),
    "reservation.rejected": _("Refused"),
    "reservation.expired": _("The time to pay is over"),
    "reservation.cancelled": _("Ended, places given back"),
    "reservation.extended": _("More time"),
    "reservation.priced": _("Price calculated again"),
    "reservation.moved": _("Moved to other seats"),
    "reservation.confirmed": _("Sold, tickets made"),
    "payment.captured": _("Money taken"),
    "payment.declined": _("Payment declined"),
    "payment.lost": _("Money came too late, on its way back"),
    "payment.late": _("Money came late and bought the places"),
    "payment.returned": _("Money given back"),
    "sale.refunded": _("Refund promised"),
    "sale.address_corrected": _("Address corrected, the tickets were sent again"),
    "refund.paid_back": _("Refund paid back"),
    "refund.refused": _("Refund refused by the gateway"),
    "refund.to_hand_out": _("Refund to be handed out at the counter"),
    "refund.handed_out": _("Refund handed out at the counter"),
    "ticket.let_in_and_refunded": _("Admitted before the refund: the gate sent the scan later"),
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    at: dt.datetime
    what: str
    note: str = ""
    rank: int = 1  # sorts what happened at the same time


def timeline(order: Reservation, payments: list[Payment], refunds: list[Refund]) -> list[Moment]:
    """Return the history by time; at equal times, in the order in which it must have happened."""
    moments = [
        Moment(at=order.accepted_at, what=str(_("Accepted, in the queue")), rank=0),
        *(_started(payment) for payment in payments),
        *_from_the_log(order, payments, refunds),
        *_by_the_box_office(order),
    ]
    return sorted(moments, key=lambda moment: (moment.at, moment.rank))


def _started(payment: Payment) -> Moment:
    note = f"{payment.method}, {money(payment.amount, payment.currency)}"
    return Moment(at=payment.started_at, what=str(_("Payment started")), note=note)


def _from_the_log(order: Reservation, payments: list[Payment], refunds: list[Refund]) -> Iterator[Moment]:
    """Read the session's log by its index, from the order's start until its last known change."""
    last = max([order.changed_at, *(row.changed_at for row in payments), *(row.changed_at for row in refunds)])
    about = Q(facts__reservation=str(order.pk))
    for name, rows in (("payment", payments), ("refund", refunds)):
        if rows:
            about |= Q(**{f"facts__{name}__in": [str(row.pk) for row in rows]})
    found = Event.objects.filter(
        about,
        session=order.session_id,
        occurred_at__gte=order.accepted_at - SLACK,
        occurred_at__lte=last + SLACK,
    )
    for event in found.order_by("occurred_at", "id")[:LONGEST]:
        yield Moment(at=event.occurred_at, what=str(NAMES.get(event.name, event.name)), note=_note(event.facts))


def _note(facts: Mapping[str, Any]) -> str:
    said = [str(facts["reason"])] if facts.get("reason") else []
    if facts.get("amount") is not None and facts.get("currency"):
        said.append(money(facts["amount"], facts["currency"]))
    return ", ".join(said)


def _by_the_box_office(order: Reservation) -> Iterator[Moment]:
    """Return staff's notes about the order and about the sale that it became."""
    kind = ContentType.objects.get_for_model(Order, for_concrete_model=False)
    about = Q(content_type=kind, object_id=str(order.pk))
    for sale in Sale.objects.filter(reservation=order.pk):
        about |= Q(content_type=ContentType.objects.get_for_model(Sale), object_id=str(sale.pk))
    noted = LogEntry.objects.filter(about).select_related("user")
    for entry in noted.order_by("action_time")[:LONGEST]:
        what = _("Box office (%(who)s)") % {"who": entry.user.get_username()}
        yield Moment(at=entry.action_time, what=what, note=entry.get_change_message(), rank=2)
