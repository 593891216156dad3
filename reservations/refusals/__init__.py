"""List every reason for which a request gets no places, with all that is said about it.

An entry is an error: admission, allocation and the operations raise it, or store its `reason` in the reservation's row.
The API reads its `code`, `status`, `title`, `sentence` and facts; orders, pages and letters read its `ended` and
`advice`.
"""

from __future__ import annotations

from base.refusals import Refused
from reservations.refusals.asking import (
    AccountRequired,
    Crowded,
    DuplicateSeat,
    LimitReached,
    NotAmongTheSeats,
    NothingAsked,
    PaymentNeeded,
    SaleClosed,
    SaleNotOpen,
    SeatsUnavailable,
    SoldAtOnce,
    SoldOut,
    TooManyHolds,
    TooManySeats,
    UnknownConcession,
    UnknownLane,
    UnknownSeat,
    UnknownSession,
    UnknownTicketType,
    VoucherExpired,
    VoucherNotForThis,
    VoucherNotYetValid,
    VoucherRefused,
    VoucherUnknown,
    VoucherUsedUp,
    WrongConcessionCount,
    WrongSeats,
)
from reservations.refusals.becoming import (
    ORDER_AGAIN,
    AlreadyPaid,
    BoxOffice,
    CalledOff,
    Duplicate,
    ExtensionLimit,
    Failed,
    IdempotencyMismatch,
    NotHeld,
    PaymentDeclined,
    PaymentInProgress,
    Released,
    RequestInFlight,
    ReservationExpired,
    SignedInSince,
)

ENTRIES: tuple[type[Refused], ...] = tuple(
    entry
    for entry in globals().values()
    if isinstance(entry, type) and issubclass(entry, Refused) and hasattr(entry, "reason")
)
ENDINGS = {entry.reason: entry for entry in ENTRIES if entry.ended}  # by the reason that a reservation's row stores
UNPAID = (ReservationExpired.reason, Released.reason, PaymentDeclined.reason)  # the buyer has to answer for these
TERMS = (
    UnknownConcession,
    WrongConcessionCount,
    *(entry for entry in ENTRIES if issubclass(entry, VoucherRefused)),
)
ADMISSION = (  # the possible refusals of each kind of request for places
    *(UnknownSession, UnknownSeat, DuplicateSeat, TooManySeats, UnknownTicketType, SoldAtOnce, UnknownLane),
    *(AccountRequired, SeatsUnavailable, SoldOut, SaleNotOpen, SaleClosed, LimitReached, TooManyHolds),
    *(NotHeld, ReservationExpired),
)

__all__ = [
    "ADMISSION",
    "ENDINGS",
    "ENTRIES",
    "ORDER_AGAIN",
    "TERMS",
    "UNPAID",
    "AccountRequired",
    "AlreadyPaid",
    "BoxOffice",
    "CalledOff",
    "Crowded",
    "Duplicate",
    "DuplicateSeat",
    "ExtensionLimit",
    "Failed",
    "IdempotencyMismatch",
    "LimitReached",
    "NotAmongTheSeats",
    "NotHeld",
    "NothingAsked",
    "PaymentDeclined",
    "PaymentInProgress",
    "PaymentNeeded",
    "Released",
    "RequestInFlight",
    "ReservationExpired",
    "SaleClosed",
    "SaleNotOpen",
    "SeatsUnavailable",
    "SignedInSince",
    "SoldAtOnce",
    "SoldOut",
    "TooManyHolds",
    "TooManySeats",
    "UnknownConcession",
    "UnknownLane",
    "UnknownSeat",
    "UnknownSession",
    "UnknownTicketType",
    "VoucherExpired",
    "VoucherNotForThis",
    "VoucherNotYetValid",
    "VoucherRefused",
    "VoucherUnknown",
    "VoucherUsedUp",
    "WrongConcessionCount",
    "WrongSeats",
]
