"""Judge the terms that requests name besides their places: concessions, vouchers, and the uses of vouchers.

Note [How a use is counted]
A use of a voucher is a reservation that carries it and is held, being paid for or bought. There is no counter that
could drift: a transaction that puts a voucher on locks it first, and then counts. So the count stays true until the
commit, and a use comes back by itself when its reservation ends. A hold that ran out counts until it is swept: until
then another transaction, which began in time, may be paying for it.
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
    """Count the uses for display. A request that puts the voucher on counts under its lock."""
    return Reservation.objects.filter(voucher=voucher, status__in=LIVE).count()


@dataclass(slots=True)
class Uses:
    """The uses of locked vouchers. See Note [How a use is counted]."""

    all: Counter[uuid.UUID] = field(default_factory=Counter)
    of_buyer: Counter[tuple[uuid.UUID, uuid.UUID]] = field(default_factory=Counter)

    @classmethod
    def of(cls, vouchers: Collection[Voucher], *, buyers: Collection[uuid.UUID], but: uuid.UUID | None = None) -> Uses:
        """Count the uses without those of the reservation `but`.

        Uses without a limit aren't counted, and uses per buyer only for these buyers.
        """
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
        """Require that a use is left, in all and for this buyer. Raises: VoucherUsedUp."""
        if voucher.uses is not None and self.all[voucher.pk] >= voucher.uses:
            raise VoucherUsedUp
        if voucher.uses_per_buyer is not None and self.of_buyer[voucher.pk, buyer] >= voucher.uses_per_buyer:
            raise VoucherUsedUp


@dataclass(slots=True)
class Terms:
    """The facts for pricing a batch of requests; `vouchers`, by code, are locked."""

    concessions: dict[uuid.UUID, list[Concession]]
    vouchers: dict[str, Voucher]
    uses: Uses

    @classmethod
    def of(cls, requests: Sequence[HoldRequest], *, vouchers: dict[str, Voucher]) -> Terms:
        naming = {request.session for request in requests if request.concessions}
        buyers = {request.buyer for request in requests if request.voucher}
        return cls(concessions_of(naming), vouchers, Uses.of(vouchers.values(), buyers=buyers))

    def judge(self, request: HoldRequest, session: Session, *, now: dt.datetime) -> None:
        """Judge the request's concessions and voucher. Raises: REFUSALS."""
        if request.concessions:
            self.chosen(request)
        if request.voucher:
            voucher = pricing.judge(
                self.vouchers.get(request.voucher), session=session.pk, currency=session.currency, now=now
            )
            self.uses.require_one_left(voucher, request.buyer)

    def chosen(self, request: HoldRequest) -> list[Concession | None]:
        """Return the concession of each place. Raises: UnknownConcession, NotAmongTheSeats, WrongConcessionCount."""
        seats = request.seats or [None] * request.quantity
        return pricing.chosen(seats, request.concessions, self.concessions[request.session])

    def put_on(self, reservation: Reservation, request: HoldRequest) -> None:
        """Price the held places with the terms that were judged."""
        reservation.voucher = self.vouchers.get(request.voucher)
        if reservation.voucher is not None:
            self.uses.add(reservation.voucher.pk, request.buyer)
        reservation.lines = pricing.priced(
            reservation.lines,
            session=reservation.session,
            concessions=self.chosen(request),
            voucher=reservation.voucher,
        )
