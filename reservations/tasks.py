"""Doorbells: what Celery rings; the work is in `operations.py`."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.exceptions import Reject

from reservations import operations
from reservations.hold_request import HoldRequest


@shared_task(acks_late=True, ignore_result=True)
def settle(*, requests: list[dict[str, Any]], **_newer: Any) -> None:
    try:
        operations.settle_however_long([HoldRequest.from_json(request) for request in requests])
    except operations.Poison as poison:
        raise Reject(str(poison), requeue=False) from poison


@shared_task(acks_late=True, ignore_result=True)
def drain(*, shard: int, **_newer: Any) -> None:
    operations.drain_inbox(shard=shard)


@shared_task(acks_late=True, ignore_result=True)
def forget_keys(**_newer: Any) -> None:
    operations.forget_keys()


@shared_task(acks_late=True, ignore_result=True)
def expire_holds(*, limit: int = 50_000, **_newer: Any) -> None:
    operations.expire_holds(limit=limit)
