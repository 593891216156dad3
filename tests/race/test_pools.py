"""Ticket types that share pools are asked for, bought, given up and run out, all at once."""

from __future__ import annotations

import random
import threading
import uuid
from functools import partial

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from realtime import audit
from reservations.audit import CHECKS
from reservations.hold_request import HOLD_SCOPE, ORDER_SCOPE, Means
from reservations.models import LIVE, Reservation, Status
from reservations.operations import holding, queued, sweeps
from sessions_app.models import Pool, TicketType
from tests.race.racing import ROUNDS, race
from tests.reservations.test_holding import request_for
from tests.reservations.test_pools import Festival
from ticketing.models import Sale
from ticketing.payments import refunds

pytestmark = [pytest.mark.race, pytest.mark.django_db(transaction=True)]

OF_STOCK = [check for check in CHECKS if "capacity" in check.name or "limit" in check.name]
VISITORS, WISHES = 8, 4


@pytest.fixture
def festival(transactional_db: None) -> Festival:
    return Festival()


def taken(pool: Pool) -> int:
    """Count the places taken by all the types that draw on the pool."""
    owners = Reservation.objects.filter(ticket_type__pools=pool, status__in=LIVE)
    places: int = owners.aggregate(places=Sum("quantity", default=0))["places"]
    return places


class TestPools:
    @pytest.mark.parametrize("seed", range(max(ROUNDS // 4, 1)))
    def test_always_add_up_and_are_never_oversold(self, festival: Festival, seed: int) -> None:
        kinds = [festival.sat, festival.sun, festival.both]
        dice = [random.Random(seed * 100 + n) for n in range(VISITORS)]  # noqa: S311 the same in every run, no secrets
        outcomes = race([partial(self.visit, festival, kinds, one) for one in dice])
        assert outcomes == [None] * VISITORS
        for pool in Pool.objects.all():
            assert pool.available + taken(pool) == pool.capacity
            assert 0 <= pool.available <= pool.capacity
        for kind in TicketType.objects.filter(capacity__isnull=False):
            owners = Reservation.objects.filter(ticket_type=kind, status__in=LIVE)
            assert kind.capacity == sum(owners.values_list("quantity", flat=True), kind.available or 0)
        assert list(audit.run(OF_STOCK)) == []

    def visit(self, festival: Festival, kinds: list[TicketType], dice: random.Random) -> None:
        """Hold and order, and end those again, as the dice say."""
        for wish in range(WISHES):
            scope, payment = dice.choice([(HOLD_SCOPE, None), (ORDER_SCOPE, Means(method="fake", token="ok"))])
            request = request_for(
                festival.session,
                buyer=uuid.uuid4(),
                arrival=wish,
                ticket_type=dice.choice(kinds).pk,
                quantity=dice.choice([1, 1, 2]),
                scope=scope,
                payment=payment,
            )
            queued.allocate([request])
            match dice.choice(["keep", "give back", "run out", "sweep"]):
                case "give back" if payment and (sale := Sale.objects.filter(buyer=request.buyer).first()):
                    refunds.ask_refund(sale_id=sale.pk, buyer=request.buyer)
                case "give back" if not payment:
                    holding.release(reservation_id=request.id, buyer=request.buyer)
                case "run out":
                    mine = Reservation.objects.filter(pk=request.id, status=Status.HELD)
                    mine.update(expires_at=timezone.now())
                case "sweep":
                    sweeps.expire_holds()

    def test_would_be_oversold_without_the_lock(self, festival: Festival) -> None:
        """Control: two look at the last place before either takes it."""
        Pool.objects.update(available=1)
        both_looked = threading.Barrier(2)

        def take_without_lock(pool: uuid.UUID) -> bool:
            available = Pool.objects.values_list("available", flat=True).get(pk=pool)
            both_looked.wait(timeout=10)
            with connection.cursor() as cursor:
                cursor.execute("UPDATE sessions_app_pool SET available = %s WHERE id = %s", [available - 1, pool])
            return available > 0

        sunday = festival.days["sun"].pk
        assert race([partial(take_without_lock, sunday) for _buyer in range(2)]) == [True, True]
        assert Pool.objects.get(pk=sunday).available == 0
