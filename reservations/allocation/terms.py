"""What requests name beside their places: concessions and vouchers, and how often those are used.

Note [How a use is counted]
A use of a voucher is a reservation that carries it and is held, being paid for or bought. There is no counter that could drift: whoever
puts a voucher on locks it first, and counts then. So what is counted stays true until the commit, and a use comes back by itself when
its reservation ends. A hold that ran out counts until it is swept: until then it may be being paid for by somebody whose transaction
began in time.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django.db.models import Count

from reservations.allocation import pricing
from reservations.hold_request import HoldRequest
from reservations.models import LIVE, Reservation, Voucher
from reservations.refusals import (
    NotAmongTheSeats,
    UnknownConcession,
    VoucherRefused,
    VoucherUsedUp,
    WrongConcessionCount,
)
from sessions_app.models import Concession, Session

REFUSALS = (VoucherRefused, UnknownConcession, NotAmongTheSeats, WrongConcessionCount)


def concessions_of(sessions: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Concession]]:
    found: dict[uuid.UUID, list[Concession]] = defaultdict(list)
    for concession in Concession.objects.filter(session__in=sessions) if sessions else ():
        found[concession.session_id].append(concession)
    return found


def uses_of(voucher: Voucher) -> int:
    """To read. Whoever puts it on counts under its lock."""
    return Reservation.objects.filter(voucher=voucher, status__in=LIVE).count()


@dataclass(slots=True)
class Uses:
    """Of vouchers that are locked. See Note [How a use is counted]."""

    all: Counter[uuid.UUID] = field(default_factory=Counter)
    of_buyer: Counter[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=Counter)

    @classmethod
    def of(cls, vouchers: Collection[Voucher], *, buyers: Collection[uuid.UUID], but: uuid.UUID | None = None) -> Uses:
        """Without those of the reservation `but`. What has no limit isn't counted, nor what other buyers have of their own."""
        live = Reservation.objects.filter(status__in=LIVE).order_by()
        if but is not None:
            live = live.exclude(pk=but)
        limited = [one.pk for one in vouchers if one.uses is not None]
        personal = [one.pk for one in vouchers if one.uses_per_buyer is not None]
        uses = cls()
        if limited:
            counted = live.filter(voucher__in=limited).values_list("voucher").annotate(number=Count("*"))
            uses.all.update(dict(counted))
        if personal:
            uses.of_buyer.update(live.filter(voucher__in=personal, buyer__in=buyers).values_list("voucher", "buyer"))
        return uses

    def add(self, voucher: uuid.UUID, buyer: uuid.UUID) -> None:
        self.all[voucher] += 1
        self.of_buyer[voucher, buyer] += 1

    def require_one_left(self, voucher: Voucher, buyer: uuid.UUID) -> None:
        """Raises: VoucherUsedUp."""
        if voucher.uses is not None and self.all[voucher.pk] >= voucher.uses:
            raise VoucherUsedUp
        if voucher.uses_per_buyer is not None and self.of_buyer[voucher.pk, buyer] >= voucher.uses_per_buyer:
            raise VoucherUsedUp


@dataclass(slots=True)
class Terms:
    """All that pricing a batch of requests takes; `vouchers`, by code, are locked."""

    concessions: dict[uuid.UUID, list[Concession]]
    vouchers: dict[str, Voucher]
    uses: Uses

    @classmethod
    def of(cls, requests: Sequence[HoldRequest], *, vouchers: dict[str, Voucher]) -> Terms:
        naming = {request.session for request in requests if request.concessions}
        buyers = {request.buyer for request in requests if request.voucher}
        return cls(concessions_of(naming), vouchers, Uses.of(vouchers.values(), buyers=buyers))

    def judge(self, request: HoldRequest, session: Session, *, now: dt.datetime) -> None:
        """Raises: REFUSALS."""
        if request.concessions:
            self.chosen(request)
        if request.voucher:
            voucher = pricing.judge(
                self.vouchers.get(request.voucher), session=session.pk, currency=session.currency, now=now
            )
            self.uses.require_one_left(voucher, request.buyer)

    def chosen(self, request: HoldRequest) -> list[Concession | None]:
        """Raises: UnknownConcession, NotAmongTheSeats, WrongConcessionCount."""
        seats = request.seats or [None] * request.quantity
        return pricing.chosen(seats, request.concessions, self.concessions[request.session])

    def put_on(self, reservation: Reservation, request: HoldRequest) -> None:
        """What was judged, and is held now, costs what it costs with these terms."""
        reservation.voucher = self.vouchers.get(request.voucher)
        if reservation.voucher is not None:
            self.uses.add(reservation.voucher.pk, request.buyer)
        reservation.lines = pricing.priced(
            reservation.lines,
            session=reservation.session,
            concessions=self.chosen(request),
            voucher=reservation.voucher,
        )
