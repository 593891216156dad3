"""Describe a letter, its address and its language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from reservations import people
from ticketing.models import Sale, User


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the relay publishes it (`realtime.relay.message`), with what letters need of it."""

    id: UUID
    name: str = msgspec.field(name="event")
    facts: dict[str, Any]
    session: UUID | None = None
    buyer: UUID | None = None
    cause: str | None = None

    @property
    def person(self) -> UUID:
        """Return the buyer of an event that always has one."""
        assert self.buyer is not None
        return self.buyer


@dataclass(frozen=True, kw_only=True)
class Letter:
    """Describe a letter. `template` names two files of templates/ticketing/mail, .txt and .html, which read `facts`."""

    to: str
    language: str
    subject: str
    template: str
    facts: Mapping[str, object] = field(default_factory=dict)
    enclosed: tuple[tuple[str, bytes, str], ...] = ()  # file name, content, media type


def address_of(buyer: UUID) -> str:
    """Return the account's address, also for a guest who became an account since; empty if there is none."""
    found = User.objects.filter(pk=people.account_of(buyer), is_active=True)
    return found.values_list("email", flat=True).first() or ""


def address_of_sale(sale: Sale) -> str:
    """Return the address that was given with the payment, or else the account's."""
    return sale.email or address_of(sale.buyer)


def language_of(buyer: UUID) -> str:
    """Return the language of the buyer's last purchase."""
    sales = Sale.objects.filter(buyer=people.account_of(buyer)).order_by("-id")
    return sales.values_list("language", flat=True).first() or settings.LANGUAGE_CODE
