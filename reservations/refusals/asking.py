"""Define the refusals of a request for places, before and when it is decided."""

from __future__ import annotations

import dataclasses
import datetime as dt

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from base.clock import rfc3339
from base.refusals import COUNT, NAMES, TIME_OR_NULL, Facts, Refused, listed

OTHER_SESSION = _("Choose another session.")
OTHER_VOUCHER = _("Order again without the voucher, or with another one.")


# --- The places are taken, or too many


@dataclasses.dataclass(eq=False)
class SeatsUnavailable(Refused, reason="seats_unavailable", status=409, title="Seats unavailable"):
    """Some of the seats are taken; `conflicts` maps each of them to held, sold or blocked."""

    sentence = _("Some of the seats are taken, so no seat was held. Choose other seats.")
    to_staff = _("Another buyer has these seats. Choose other seats.")
    ended = _("Another buyer was faster, and some of the seats are taken.")
    advice = _("Choose other seats.")
    shape = {"conflicts": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Conflict"}}}

    conflicts: dict[str, str]

    def facts(self) -> Facts:
        return {"conflicts": [{"seat": seat, "reason": why} for seat, why in sorted(self.conflicts.items())]}


class SoldOut(Refused, reason="sold_out", status=409, title="Sold out"):
    sentence = _("Fewer places are left than you asked for. Ask for fewer places, or choose another session.")
    ended = _("Fewer places were left than you ordered.")
    advice = _(
        "Order fewer places, or look again later: places sometimes come back. You can also choose another session."
    )


@dataclasses.dataclass(eq=False)
class LimitReached(Refused, reason="limit_reached", status=409, title="Limit reached"):
    """The request and the places that the buyer already has exceed the limit of the session or the ticket type."""

    sentence = _(
        "This would exceed the limit of places per buyer for this session, including what you already hold or bought."
    )
    to_staff = _("This would exceed the limit of places per buyer, including what the buyer already has.")
    ended = _("This would exceed the limit of places per buyer, including what you already have.")
    advice = _("“My tickets” shows what you already have. Order fewer places.")
    shape = {"limit": COUNT}

    limit: int

    def said(self) -> str:
        return ngettext(
            "This would exceed the limit of %(limit)d place per buyer, including what you already hold or bought.",
            "This would exceed the limit of %(limit)d places per buyer, including what you already hold or bought.",
            self.limit,
        ) % {"limit": self.limit}

    def facts(self) -> Facts:
        return {"limit": self.limit}


@dataclasses.dataclass(eq=False)
class TooManyHolds(Refused, reason="too_many_holds", status=429, title="Too many holds"):
    """The buyer, or the address's guests, hold too many unpaid or free places, or let too many holds end unpaid."""

    sentence = _(
        "You, or other buyers on your network, have too many unpaid or free places. Pay for the held places or "
        "give them back, or try again later."
    )
    ended = _("You, or other buyers on your network, already had too many unpaid or free places. Nothing was charged.")
    advice = _("Pay for the held places or give them back. Then wait a minute and order again.")

    retry_after: float


@dataclasses.dataclass(eq=False)
class TooManySeats(Refused, reason="too_many_seats", status=400, title="Too many seats"):
    """One request asks for more than the session or the ticket type allows; `field` is the one that asked."""

    sentence = _("This request asks for more places than a buyer may have in this session. Ask for fewer places.")
    ended = _("The order has more places than one order may have.")
    advice = _("Order fewer places.")
    shape = {"limit": COUNT}

    limit: int
    field: str = "seats"

    def facts(self) -> Facts:
        self.hint = _("The limit is %(limit)d.") % {"limit": self.limit}
        return {"limit": self.limit, **super().facts()}


# --- The places are not on sale, or not this way


@dataclasses.dataclass(eq=False)
class SaleNotOpen(Refused, reason="sale_not_open", status=409, title="Not on sale yet"):
    sentence = _("The sale has not begun yet. Come back when it begins.")
    ended = _("The sale had not begun yet.")
    advice = _("Come back when the sale begins.")
    shape = {"on_sale_at": TIME_OR_NULL}

    on_sale_at: dt.datetime | None

    def facts(self) -> Facts:
        return {"on_sale_at": self.on_sale_at and rfc3339(self.on_sale_at)}


class SaleClosed(Refused, reason="sale_closed", status=409, title="Sale closed"):
    """The session started or was called off, or the ticket type's own sale is over."""

    sentence = _("The session has started or was called off, so it sells no more places.")
    ended = _("The sale was over.")
    advice = OTHER_SESSION


class SoldAtOnce(Refused, reason="sold_at_once", status=400, title="Sold at once only"):
    """The ticket type is for orders that carry their payment; it can't be held."""

    sentence = _("This ticket cannot be held. Place an order that carries its payment.")
    ended = _("This ticket cannot be held: place an order that carries its payment.")
    advice = _("Buy it now instead of holding it first.")
    field = "ticket_type"
    hint = _("It cannot be held. Order it with POST /orders and a payment.")


class PaymentNeeded(Refused, reason="payment_needed", status=400, title="The payment is missing"):
    """The ticket type needs an order with its payment, and the order carries none."""

    sentence = _("This ticket cannot be held: the order must carry its payment.")
    ended = sentence
    advice = _("Order again, and say how you pay.")
    field = "payment"
    hint = _("An order for this ticket must carry its payment.")


class AccountRequired(Refused, reason="account_required", status=403, title="An account is needed"):
    """The session is for buyers with an account, and this buyer is a guest."""

    sentence = _("This session is only for buyers with an account. Sign in to buy.")


@dataclasses.dataclass(eq=False)
class Crowded(Refused, reason="rate_limited", status=429, title="Too many requests"):
    """More requests come than the session admits."""

    sentence = _("The session receives more requests than it admits per second. Try again in a moment.")

    retry_after: float


# --- The request has wrong values


@dataclasses.dataclass(eq=False)
class WrongSeats(Refused):
    """The request names wrong seats: `seats`."""

    field = "seats"
    shape = {"seats": NAMES}
    told = _("Unknown: %(names)s.")

    seats: list[str]

    def facts(self) -> Facts:
        self.hint = self.told % listed(self.seats)
        return {"seats": self.seats, **super().facts()}


class UnknownSession(Refused, reason="unknown_session", status=400, title="Unknown session"):
    sentence = _("There is no such session.")
    field = "session"


class UnknownSeat(WrongSeats, reason="unknown_seat", status=400, title="Unknown seat"):
    sentence = _("The session has no seats with these names.")


class DuplicateSeat(WrongSeats, reason="duplicate_seat", status=400, title="Seat named twice"):
    sentence = _("The request names the same seat twice.")
    told = _("Named twice: %(names)s.")


class UnknownTicketType(Refused, reason="unknown_ticket_type", status=400, title="Unknown ticket type"):
    """The session has no such ticket type, or the type has no stock of unnumbered places."""

    sentence = _("The session does not sell this type of unnumbered place.")
    field = "ticket_type"
    hint = _("The session has no ticket type with this id.")


class UnknownLane(Refused, reason="unknown_lane", status=400, title="Unknown lane"):
    """The session has no lane with that code."""

    sentence = _("The session has no lane with this code. A request without a code uses the general lane.")
    field = "lane_code"
    hint = _("The session has no ticket type with this id.")


class NothingAsked(Refused, reason="invalid", status=400, title="The request is not valid"):
    """The request has neither seats nor a quantity."""

    sentence = _("The request asks for no places.")
    field = "body"


# --- Concessions and vouchers


@dataclasses.dataclass(eq=False)
class UnknownConcession(Refused, reason="unknown_concession", status=400, title="Unknown concession"):
    """The session has no concessions with these names or ids."""

    sentence = _("The session has no such concession.")
    ended = _("The session no longer has this concession. Nothing was charged.")
    advice = _("Order again and choose one of the session's current concessions.")
    field = "concessions"
    shape = {"concessions": NAMES}

    concessions: list[str] = dataclasses.field(default_factory=list)

    def facts(self) -> Facts:
        self.hint = _("Unknown: %(names)s.") % listed(self.concessions)
        return {"concessions": self.concessions, **super().facts()}


class NotAmongTheSeats(
    WrongSeats, reason=UnknownConcession.reason, code=UnknownSeat.code, status=400, title="Unknown seat"
):
    sentence = _("You chose concessions for seats that are not in this reservation.")
    field = "concessions"


@dataclasses.dataclass(eq=False)
class WrongConcessionCount(
    Refused, reason=UnknownConcession.reason, code="concession_count", status=400, title="Not that many places"
):
    """The numbers of unnumbered places for each concession are wrong, or together exceed `places`."""

    sentence = _(
        "Give the number of places for each concession. Together they must not exceed the places of this reservation."
    )
    field = "concessions"
    shape = {"places": COUNT}

    places: int

    def facts(self) -> Facts:
        return {"places": self.places, **super().facts()}


class VoucherRefused(Refused):
    """The voucher can't be used."""

    advice = OTHER_VOUCHER
    field = "voucher"


class VoucherUnknown(VoucherRefused, reason="voucher_unknown", status=400, title="Unknown voucher"):
    """No voucher has this code, or it was taken back."""

    sentence = _("There is no such voucher.")
    ended = _("There is no such voucher. Nothing was charged.")


class VoucherNotYetValid(VoucherRefused, reason="voucher_not_yet_valid", status=409, title="Voucher not valid yet"):
    sentence = _("This voucher is not valid yet.")
    ended = _("The voucher was not valid yet. Nothing was charged.")


class VoucherExpired(VoucherRefused, reason="voucher_expired", status=409, title="Voucher expired"):
    sentence = _("This voucher is no longer valid.")
    ended = _("The voucher was no longer valid. Nothing was charged.")


class VoucherUsedUp(VoucherRefused, reason="voucher_used_up", status=409, title="Voucher used up"):
    """All buyers together, or this one, have no use of the voucher left."""

    sentence = _("This voucher is used up.")
    ended = _("The voucher was used up. Nothing was charged.")


class VoucherNotForThis(VoucherRefused, reason="voucher_not_for_this", status=409, title="Voucher for something else"):
    """The voucher is for another session, or takes off an amount of another currency."""

    sentence = _("This voucher is not valid for this session.")
    ended = _("The voucher is not valid for this session. Nothing was charged.")
