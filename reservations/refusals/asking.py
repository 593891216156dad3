"""What a request for places may be refused with before, and when, it is decided."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from base.clock import rfc3339
from base.refusals import COUNT, NAMES, TIME_OR_NULL, Refused, listed

OTHER_SESSION = _("Choose another session.")
OTHER_VOUCHER = _("Order again without the voucher, or with another one.")


# --- What is asked for is taken, or too much


@dataclasses.dataclass(eq=False)
class SeatsUnavailable(Refused, reason="seats_unavailable", status=409, title="Seats unavailable"):
    """`conflicts`: seat → held, sold or blocked."""

    sentence = _("Some of the seats are taken; none was held.")
    to_staff = _("The seats are taken by somebody else.")
    ended = _("Somebody was faster: some of the seats are taken.")
    advice = _("Choose other seats.")
    shape = {"conflicts": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Conflict"}}}

    conflicts: dict[str, str]

    def facts(self) -> dict[str, Any]:
        return {"conflicts": [{"seat": seat, "reason": why} for seat, why in sorted(self.conflicts.items())]}


class SoldOut(Refused, reason="sold_out", status=409, title="Sold out"):
    sentence = _("Not that many places are left.")
    ended = _("Sold out: not that many places were left.")
    advice = _("Fewer places may be left, or come free again: look once more, or choose another session.")


@dataclasses.dataclass(eq=False)
class LimitReached(Refused, reason="limit_reached", status=409, title="Limit reached"):
    """With what the buyer already holds or bought it would be more than the session or the ticket type allows."""

    sentence = _("With what you hold or bought it would be more than this session allows a buyer.")
    to_staff = _("With what the buyer has it would be more than one buyer may have.")
    ended = _("With what you already have it would be more than one buyer may have.")
    advice = _("“My tickets” shows what you have already.")
    shape = {"limit": COUNT}

    limit: int

    def said(self) -> str:
        return ngettext(
            "With what you hold or bought already, this would be more than %(limit)d place, the most for one buyer.",
            "With what you hold or bought already, this would be more than %(limit)d places, the most for one buyer.",
            self.limit,
        ) % {"limit": self.limit}

    def facts(self) -> dict[str, Any]:
        return {"limit": self.limit}


@dataclasses.dataclass(eq=False)
class TooManyHolds(Refused, reason="too_many_holds", status=429, title="Too many holds"):
    """The buyer, or all guests of the address, hold as much unpaid or for nothing as they may, or let too many holds end unpaid."""

    sentence = _(
        "Too many places from here are held unpaid or cost nothing. Pay for what is held or give places back, or come again later."
    )
    ended = _("Too many places are held unpaid already, or cost nothing; nothing was charged.")
    advice = _("Pay for what is held or give places back, wait a minute, and order again.")

    retry_after: float


@dataclasses.dataclass(eq=False)
class TooManySeats(Refused, reason="too_many_seats", status=400, title="Too many seats"):
    """One request for more than the session or the ticket type allows. `field` is what asked for them."""

    sentence = _("One request asks for more than this session allows a buyer.")
    ended = _("More places than one order may have.")
    advice = _("Order fewer places.")
    shape = {"limit": COUNT}

    limit: int
    field: str = "seats"

    def facts(self) -> dict[str, Any]:
        self.hint = _("At most %(limit)d.") % {"limit": self.limit}
        return {"limit": self.limit, **super().facts()}


# --- It is not on sale, or not like this


@dataclasses.dataclass(eq=False)
class SaleNotOpen(Refused, reason="sale_not_open", status=409, title="Not on sale yet"):
    sentence = _("The sale has not opened yet.")
    ended = _("The sale had not begun.")
    advice = _("Come back when the sale begins.")
    shape = {"on_sale_at": TIME_OR_NULL}

    on_sale_at: dt.datetime | None

    def facts(self) -> dict[str, Any]:
        return {"on_sale_at": self.on_sale_at and rfc3339(self.on_sale_at)}


class SaleClosed(Refused, reason="sale_closed", status=409, title="Sale closed"):
    """The session started or was called off, or the ticket type's own sale is over."""

    sentence = _("The session has started or was cancelled.")
    ended = _("The sale was over.")
    advice = OTHER_SESSION


class SoldAtOnce(Refused, reason="sold_at_once", status=400, title="Sold at once only"):
    """The ticket type is for orders that carry their payment; it can't be held."""

    sentence = _("This ticket can't be held. Order it, with its payment.")
    ended = _("This ticket can't be held: order it, with its payment.")
    advice = _("Buy it now, instead of holding it first.")
    field = "ticket_type"
    hint = _("It can't be held: order it with POST /orders, with its payment.")


class PaymentNeeded(Refused, reason="payment_needed", status=400, title="The payment is missing"):
    """The same, asked by an order without its payment."""

    sentence = _("This ticket can't be held: the order must carry its payment.")
    ended = sentence
    advice = _("Order again, and say how you pay.")
    field = "payment"
    hint = _("An order for this ticket must carry its payment.")


class AccountRequired(Refused, reason="account_required", status=403, title="An account is needed"):
    """The session is for people with an account, and this is a guest."""

    sentence = _("This session is for people with an account: sign in to buy.")


@dataclasses.dataclass(eq=False)
class Crowded(Refused, reason="rate_limited", status=429, title="Too many requests"):
    """More come than the session lets in."""

    sentence = _("More people ask for this session than are let in a second. Ask again in a moment.")

    retry_after: float


# --- The request says something that isn't so


@dataclasses.dataclass(eq=False)
class WrongSeats(Refused):
    """`seats`: the names of those that are wrong."""

    field = "seats"
    shape = {"seats": NAMES}
    told = _("Unknown: %(names)s.")

    seats: list[str]

    def facts(self) -> dict[str, Any]:
        self.hint = self.told % listed(self.seats)
        return {"seats": self.seats, **super().facts()}


class UnknownSession(Refused, reason="unknown_session", status=400, title="Unknown session"):
    sentence = _("There is no such session.")
    field = "session"


class UnknownSeat(WrongSeats, reason="unknown_seat", status=400, title="Unknown seat"):
    sentence = _("The session has no seats of these names.")


class DuplicateSeat(WrongSeats, reason="duplicate_seat", status=400, title="Seat named twice"):
    sentence = _("The same seat stands in the request twice.")
    told = _("Named twice: %(names)s.")


class UnknownTicketType(Refused, reason="unknown_ticket_type", status=400, title="Unknown ticket type"):
    """The session has no such ticket type, or it has no stock of unnumbered places."""

    sentence = _("The session sells no such places without a number.")
    field = "ticket_type"
    hint = _("Unknown to this session.")


class UnknownLane(Refused, reason="unknown_lane", status=400, title="Unknown lane"):
    """The session has no lane of that code."""

    sentence = _("The session has no lane of this code; without a code you stand in everybody's.")
    field = "lane_code"
    hint = _("Unknown to this session.")


class NothingAsked(Refused, reason="invalid", status=400, title="The request is not valid"):
    """Neither seats nor a quantity."""

    sentence = _("It asks for no place at all.")
    field = "body"


# --- Concessions and vouchers


@dataclasses.dataclass(eq=False)
class UnknownConcession(Refused, reason="unknown_concession", status=400, title="Unknown concession"):
    """The session has none of these names and ids."""

    sentence = _("The session has no such concession.")
    ended = _("The session has no such concession any more; nothing was charged.")
    advice = _("Order again, and choose among the concessions that the session has now.")
    field = "concessions"
    shape = {"concessions": NAMES}

    concessions: list[str] = dataclasses.field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        self.hint = _("Unknown: %(names)s.") % listed(self.concessions)
        return {"concessions": self.concessions, **super().facts()}


class NotAmongTheSeats(
    WrongSeats, reason=UnknownConcession.reason, code=UnknownSeat.code, status=400, title="Unknown seat"
):
    sentence = _("Concessions were chosen for seats that are not among these.")
    field = "concessions"


@dataclasses.dataclass(eq=False)
class WrongConcessionCount(
    Refused, reason=UnknownConcession.reason, code="concession_count", status=400, title="Not that many places"
):
    """Of unnumbered places a concession takes a number, and together no more than there are: `places`."""

    sentence = _("Say how many places have each concession: together no more than there are.")
    field = "concessions"
    shape = {"places": COUNT}

    places: int

    def facts(self) -> dict[str, Any]:
        return {"places": self.places, **super().facts()}


class VoucherRefused(Refused):
    """Why a voucher can't be put on."""

    advice = OTHER_VOUCHER
    field = "voucher"


class VoucherUnknown(VoucherRefused, reason="voucher_unknown", status=400, title="Unknown voucher"):
    """There never was such a code, or it was taken back."""

    sentence = _("There is no such voucher.")
    ended = _("There is no such voucher; nothing was charged.")


class VoucherNotYetValid(VoucherRefused, reason="voucher_not_yet_valid", status=409, title="Voucher not valid yet"):
    sentence = _("This voucher is not valid yet.")
    ended = _("The voucher was not valid yet; nothing was charged.")


class VoucherExpired(VoucherRefused, reason="voucher_expired", status=409, title="Voucher expired"):
    sentence = _("This voucher is no longer valid.")
    ended = _("The voucher was no longer valid; nothing was charged.")


class VoucherUsedUp(VoucherRefused, reason="voucher_used_up", status=409, title="Voucher used up"):
    """All buyers together, or this one, used it as often as it may be."""

    sentence = _("This voucher was used as often as it may be.")
    ended = _("The voucher was used up; nothing was charged.")


class VoucherNotForThis(VoucherRefused, reason="voucher_not_for_this", status=409, title="Voucher for something else"):
    """It is for another session, or takes off an amount of another currency."""

    sentence = _("This voucher is not for this session.")
    ended = _("The voucher is not for this session; nothing was charged.")
