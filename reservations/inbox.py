"""PostgreSQL's own line: accepted requests as rows, until the transaction that settles them deletes them."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Sequence

from django.db.models import F
from django.utils import timezone

from reservations.hold_request import HoldRequest
from reservations.models import InboxRequest

MAX_ATTEMPTS = 5  # a request that fails this often alone is left for a person: `manage.py audit` names it


def store(requests: Sequence[HoldRequest], *, shard_for: Callable[[HoldRequest], int]) -> None:
    """One INSERT for the batch; a request already stored stays as it was."""
    InboxRequest.objects.bulk_create(
        [
            InboxRequest(
                id=request.id,
                shard=shard_for(request),
                arrival=request.arrival,
                buyer=request.buyer,
                request=request.to_json(),
                accepted_at=timezone.now(),
            )
            for request in requests
        ],
        ignore_conflicts=True,
    )


def waiting(shard: int, *, limit: int) -> list[HoldRequest]:
    """The next requests of the shard, in order of arrival."""
    rows = InboxRequest.objects.filter(shard=shard, attempts__lt=MAX_ATTEMPTS).order_by("arrival")[:limit]
    return [_request(row) for row in rows]


def note_failure(request: uuid.UUID, *, error: str) -> None:
    InboxRequest.objects.filter(pk=request).update(attempts=F("attempts") + 1, error=error[:200])


def find(reservation: uuid.UUID) -> HoldRequest | None:
    row = InboxRequest.objects.filter(pk=reservation).first()
    return _request(row) if row else None


def of_buyer(buyer: uuid.UUID) -> list[HoldRequest]:
    return [_request(row) for row in InboxRequest.objects.filter(buyer=buyer)]


def _request(row: InboxRequest) -> HoldRequest:
    return dataclasses.replace(HoldRequest.from_json(row.request), buyer=row.buyer)  # a guest may have signed in since
