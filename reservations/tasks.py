"""Doorbells: what Celery rings; the work is in `operations.py`."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.exceptions import Reject

from reservations import dead_letters, operations
from reservations.lines import LineDown


@shared_task(acks_late=True, acks_on_failure=False, ignore_result=True)  # whatever fails it: it is swept, not lost
def settle(*, requests: list[dict[str, Any]], **_newer: Any) -> None:
    try:
        dead_letters.settle_message(requests)
    except LineDown as error:  # no dead letter could be written, so the message must come again
        raise Reject(str(error), requeue=True) from error


@shared_task(acks_late=True, ignore_result=True)
def drain(*, shard: int, **_newer: Any) -> None:
    operations.drain_however_long(shard=shard)


@shared_task(acks_late=True, ignore_result=True)
def forget_keys(**_newer: Any) -> None:
    operations.forget_keys()


@shared_task(acks_late=True, ignore_result=True)
def expire_holds(*, limit: int = 50_000, **_newer: Any) -> None:
    operations.expire_holds(limit=limit)
