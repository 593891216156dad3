"""The payment methods: each is one module that speaks `Gateway`, and one entry here. Everything else reads the entries.

Note [Why the entries are here]
The settings are checked by these entries before Django is set up, and an SDK may not be installed. So this module
imports neither models nor SDKs, and a gateway's own module is imported when it is first asked.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from django.conf import settings as django_settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A variable of the environment that becomes a setting of the same name."""

    name: str
    default: str = ""
    is_needed: bool = True  # where the method is on
    prefix: str = ""  # what a value must begin with
    why_prefix: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Describe a way to pay. `place`: the gateway takes money online, a person at the counter or at the door."""

    name: str
    receipt: Text  # what a receipt calls it
    place: Literal["online", "counter", "door"] = "online"
    is_handed_back: bool = False  # a person gives a refund of it back
    is_cash: bool = False  # it lies in the house's till

    # Its module
    module: str = ""  # `ticketing.payments.gateways.NAME` if empty
    sdk: str = ""  # the package that may not be installed
    is_in_database: bool = False  # it gives its connection back itself while it waits
    keeps_books: bool = False  # its module speaks `KeepsBooks`, and the audit compares
    signature: str = ""  # the header that signs its webhooks

    # The API's words
    about: str = ""  # a sentence for those who choose
    token: str = ""  # the phrase for what its token is

    # The pages
    label: Text = ""  # the choice in a form
    note: Text = ""  # smaller, beside it
    template: str = ""  # its part of a form, whose fields post `token` or `token.NAME`
    template_setting: str = ""  # the setting that the template shows as `public_key`
    without_script: Text = ""  # why its form needs a script; empty if it works without
    takes_token: bool = True  # at the counter: whether a transaction is typed in

    # The house's side
    settings: tuple[Setting, ...] = ()
    not_in_production: str = ""  # why production refuses it, unless it rehearses
    content_sources: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # what a page may load


FAKE = Method(
    name="fake",
    receipt=_("Sandbox"),
    is_in_database=True,
    signature="Frontrow-Signature",
    about="`fake` is the sandbox: no money moves.",
    token="a word of the sandbox, such as `ok`",  # noqa: S106 a phrase
    label=_("Sandbox"),
    note=_("no money moves"),
    template="ticketing/means/fake.html",
    not_in_production=(
        "PAYMENT_METHODS names fake, the sandbox: everybody would get tickets and nobody would pay. Set it to "
        "stripe, or SANDBOX_IN_PRODUCTION=on for a rehearsal"
    ),
)
STRIPE = Method(
    name="stripe",
    receipt=_("Card"),
    sdk="stripe",
    keeps_books=True,
    signature="Stripe-Signature",
    token="the id of a payment method at Stripe",  # noqa: S106 a phrase
    label=_("Card"),
    template="ticketing/means/stripe.html",
    template_setting="STRIPE_PUBLISHABLE_KEY",
    without_script=_("You need JavaScript to pay by card. Switch it on and load the page again."),
    settings=(
        Setting(name="STRIPE_API_KEY"),
        Setting(
            name="STRIPE_PUBLISHABLE_KEY",
            prefix="pk_",
            why_prefix="STRIPE_PUBLISHABLE_KEY is public, so it must be the key that begins with pk_",
        ),
        Setting(name="STRIPE_WEBHOOK_SECRET"),
        Setting(name="STRIPE_API_URL", default="https://api.stripe.com", is_needed=False),
    ),
    # The card form: a script and a frame of Stripe's, in which the card's number stays; hooks shows what a bank asks.
    content_sources={
        "script-src": ["https://js.stripe.com"],
        "frame-src": ["https://js.stripe.com", "https://hooks.stripe.com"],
        "connect-src": ["https://api.stripe.com"],
    },
)
CASH = Method(
    name="cash",
    receipt=_("Cash"),
    place="counter",
    is_handed_back=True,
    is_cash=True,
    label=_("in cash"),
    takes_token=False,
)
CARD = Method(
    name="card",
    receipt=_("Card at the counter"),
    place="counter",
    is_handed_back=True,
    label=_("by card, on the terminal"),
)
DOOR = Method(name="door", receipt=_("At the door"), place="door", is_handed_back=True, is_cash=True)

METHODS: dict[str, Method] = {method.name: method for method in (FAKE, STRIPE, CASH, CARD, DOOR)}


def of_place(place: str) -> list[Method]:
    """Return the methods of this place, in the order of the registry."""
    return [method for method in METHODS.values() if method.place == place]


def is_of_place(name: str, place: str) -> bool:
    return name in METHODS and METHODS[name].place == place


def is_handed_back(name: str) -> bool:
    """Tell whether a person gives back what was paid by this method."""
    return name in METHODS and METHODS[name].is_handed_back


def is_cash(name: str) -> bool:
    """Tell whether what was paid by this method lies in the house's till."""
    return name in METHODS and METHODS[name].is_cash


def settings() -> Iterator[Setting]:
    """Yield the settings of all methods."""
    for method in METHODS.values():
        yield from method.settings


def value(name: str) -> str:
    """Return the value of a method's setting."""
    return str(getattr(django_settings, name))


def content_sources(chosen: Sequence[str]) -> dict[str, list[str]]:
    """Return what pages may load for the chosen methods, by directive of the Content-Security-Policy."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in chosen:
        for directive, sources in METHODS[name].content_sources.items():
            found[directive] += sources
    return dict(found)


def problems(chosen: Sequence[str], values: Mapping[str, str], *, is_real: bool) -> Iterator[str]:
    """Yield what is wrong with the chosen methods and their settings; `is_real`: in production, and no rehearsal."""
    known = [method.name for method in of_place("online")]
    if not chosen or not set(chosen) <= set(known):
        yield f"PAYMENT_METHODS must name one or more of {', '.join(known)}, not {','.join(chosen)!r}"
        return
    for method in (METHODS[name] for name in chosen):
        needed = [setting.name for setting in method.settings if setting.is_needed]
        if not all(values[name].strip() for name in needed):
            yield f"PAYMENT_METHODS names {method.name}: set {_and(needed)}"
    for setting in settings():
        if values[setting.name] and not values[setting.name].startswith(setting.prefix):
            yield setting.why_prefix
    for method in (METHODS[name] for name in chosen):
        if is_real and method.not_in_production:
            yield method.not_in_production


def _and(names: Sequence[str]) -> str:
    """Join the names as a sentence does."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
