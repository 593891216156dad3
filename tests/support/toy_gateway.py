"""A gateway that no house uses: it shows what a third one takes. It keeps what it was asked in memory."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from ticketing.payments.gateways import Attempt, Notice, RefundRefused, Standing
from ticketing.payments.gateways.registry import Method, Setting
from ticketing.refusals import UnknownToken, UnsignedWebhook

TOY = Method(
    name="toy",
    receipt="Toy money",
    module="tests.support.toy_gateway",
    signature="Toy-Signature",
    about="`toy` takes marbles.",
    token="a marble",
    label="Marbles",
    note="for children",
    template="means/toy.html",
    template_setting="TOY_PUBLIC_KEY",
    settings=(Setting(name="TOY_KEY"), Setting(name="TOY_PUBLIC_KEY", is_needed=False)),
    content_sources={"script-src": ["https://js.toy.example"], "frame-src": ["https://toy.example"]},
)
standings: dict[uuid.UUID, Standing] = {}


def check(token: str) -> None:
    if not token.startswith("marble-"):
        raise UnknownToken(token)


def authorise(attempt: Attempt) -> Standing:
    return _note(attempt, Standing("authorised", reference=attempt.token))


def find(attempt: Attempt) -> Standing:
    return standings.get(attempt.id, Standing("unknown"))


def capture(attempt: Attempt) -> Standing:
    return _note(attempt, Standing("captured", reference=attempt.token))


def void(attempt: Attempt) -> Standing:
    return _note(attempt, Standing("voided"))


def refund(attempt: Attempt, *, refund: uuid.UUID, amount: int) -> None:
    raise RefundRefused("marbles stay")


def read_notice(body: bytes, headers: Mapping[str, str]) -> Notice:
    if headers.get("Toy-Signature") != "signed by the toy":
        raise UnsignedWebhook
    return Notice(event="1", kind="toy.paid", attempt=uuid.UUID(body.decode()))


def _note(attempt: Attempt, standing: Standing) -> Standing:
    standings[attempt.id] = standing
    return standing
