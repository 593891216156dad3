"""Move what Redis keeps for a guest to the account that the guest became."""

from __future__ import annotations

import uuid
from typing import Any

from reservations.claims.arguments import FollowKeys
from reservations.claims.claims import FAILURES, PERSON_SECONDS, Counted, NoClaims, _asked_by, breaker, client, script
from reservations.claims.keys import asked_by_key, cap_keys, mine_key, person_key


def join(*, guest: uuid.UUID, account: uuid.UUID, counted: Counted) -> None:
    """Make the guest's name stand for the account; `counted` has its sessions and types that count for limits.

    Raises: NoClaims.
    """
    try:
        with breaker:
            _join(guest, account, counted)
    except FAILURES as error:
        raise NoClaims from error


def _join(guest: uuid.UUID, account: uuid.UUID, counted: Counted) -> None:
    pipe = client().pipeline()
    pipe.hset(person_key(guest), "account", str(account))
    pipe.hset(person_key(account), str(guest), 1)
    for name in (guest, account):
        pipe.expire(person_key(name), PERSON_SECONDS)
    pipe.execute()
    # From here on no request is admitted under the guest's name, so this read finds all of them.
    asked = {(request.session, request.ticket_type if request.asks_stock else None) for request in _asked_by(guest)}
    pipe = client().pipeline()
    for session, kind in {*counted, *asked}:
        for of in {None, kind}:
            _move_set(pipe, mine_key(session, guest, of), mine_key(session, account, of), seconds=86_400)
    _move_set(pipe, asked_by_key(guest), asked_by_key(account), seconds=600)
    pipe.execute()
    script("follow")(keys=FollowKeys(*cap_keys(guest, "", guest), *cap_keys(account, "", account)))


def _move_set(pipe: Any, source: str, target: str, *, seconds: int) -> None:
    pipe.zunionstore(target, [target, source], aggregate="MAX")
    pipe.expire(target, seconds)
    pipe.delete(source)


def names_of(buyer: uuid.UUID) -> list[uuid.UUID]:
    """Return the account that the buyer is, and the guests who became it, for as long as keys are kept.

    Return any other buyer alone. Raises: NoClaims.
    """
    try:
        with breaker:
            known: Any = client().hgetall(person_key(buyer))
            if "account" in known:
                buyer = uuid.UUID(known["account"])
                known = client().hgetall(person_key(buyer))
    except FAILURES as error:
        raise NoClaims from error
    return [buyer, *map(uuid.UUID, known)]
