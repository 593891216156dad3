"""The sandbox: no money moves. Its tokens are documented in `docs/api.md`; it keeps its own record of every attempt.

| token      | what happens                                          |
|------------|-------------------------------------------------------|
| `ok`       | paid                                                  |
| `declined` | the card is refused                                   |
| `slow`     | paid, after 3 seconds                                 |
| `timeout`  | no answer within the deadline, and nothing is charged |
"""

from __future__ import annotations

import time
import uuid

from ticketing.gateways import GatewayTimeout, Standing
from ticketing.models import SandboxCharge

TOKENS = ("ok", "declined", "slow", "timeout")
SLOW_SECONDS = 3.0
DEADLINE_SECONDS = 5.0


def authorise(*, attempt: uuid.UUID, amount: int, currency: str, token: str) -> Standing:
    known = find(attempt=attempt)
    if known.state != "unknown":
        return known
    match token:
        case "timeout":
            time.sleep(DEADLINE_SECONDS)
            raise GatewayTimeout(f"no answer in {DEADLINE_SECONDS:g} s")
        case "slow":
            time.sleep(SLOW_SECONDS)
    status = "authorised" if token in {"ok", "slow"} else "declined"
    charge, _created = SandboxCharge.objects.get_or_create(
        attempt=attempt, defaults={"amount": amount, "currency": currency, "status": status}
    )
    return _standing(charge)


def find(*, attempt: uuid.UUID) -> Standing:
    charge = SandboxCharge.objects.filter(pk=attempt).first()
    return _standing(charge) if charge else Standing("unknown")


def capture(*, attempt: uuid.UUID) -> Standing:
    SandboxCharge.objects.filter(pk=attempt, status="authorised").update(status="captured")
    return find(attempt=attempt)


def void(*, attempt: uuid.UUID) -> Standing:
    SandboxCharge.objects.get_or_create(attempt=attempt, defaults={"amount": 0, "currency": "", "status": "voided"})
    SandboxCharge.objects.filter(pk=attempt, status="authorised").update(status="voided")
    return find(attempt=attempt)


def _standing(charge: SandboxCharge) -> Standing:
    match charge.status:
        case "authorised" | "captured" | "voided" as state:
            return Standing(state)
        case _:
            return Standing("declined", reason="card_declined")
