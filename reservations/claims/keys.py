"""Name the keys that admission keeps in Redis. Those of one session share a slot of a cluster."""

from __future__ import annotations

import uuid

from django.conf import settings

from reservations.hold_request import HoldRequest

PREFIX = settings.KEY_PREFIX


def key(kind: str, *parts: object) -> str:
    """Return a key's name. Keys of one session share a hash tag, for Redis Cluster."""
    return f"{PREFIX}:{kind}:" + ":".join(map(str, parts))


def claim_key(session: uuid.UUID, seat: str) -> str:
    return f"{PREFIX}:claim:{{{session}}}:{seat}"


def arrivals_key(session: uuid.UUID) -> str:
    return key("arrivals", f"{{{session}}}")


def mine_key(session: uuid.UUID, buyer: uuid.UUID, of: uuid.UUID | None = None) -> str:
    """Return the key of the places that the buyer has in the session, or of one ticket type."""
    return f"{PREFIX}:mine:{{{session}}}:{buyer}{f':{of}' if of else ''}"


def person_key(buyer: uuid.UUID) -> str:
    """Return the key of a person.

    A guest who became an account has the field `account`; an account has a field for each guest who became it.
    """
    return key("person", buyer)


def asked_by_key(buyer: uuid.UUID) -> str:
    return key("asked-by", buyer)


def idem_key(request: HoldRequest) -> str:
    return f"{PREFIX}:idem:{request.buyer}:{request.scope}:{request.key}"


def cap_keys(buyer: uuid.UUID, origin: str, pot: uuid.UUID) -> list[str]:
    """Return the keys of held places and their tally, for the buyer, and for the address if it counts.

    See Note [What counts as held] in hold_caps.py.
    """
    of = [str(buyer), *([f"{{{pot}}}:{origin}"] if origin else [])]
    return [f"{PREFIX}:{kind}:{name}" for name in of for kind in ("held", "held-tally")]


def stock_keys(session: uuid.UUID, level: uuid.UUID) -> list[str]:
    """Return the keys of a level's stock, of the requests in the queue for it, and of its holders."""
    return [f"{PREFIX}:{kind}:{{{session}}}:{level}" for kind in ("stock", "in-line", "holders")]
