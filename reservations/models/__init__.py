"""Define the tables of requests for places."""

from reservations.models.reservations import FINAL, LIVE, Instant, Reservation, ReservationQuerySet, Status
from reservations.models.vouchers import CODE, Voucher
from reservations.models.waiting import CancelMark, InboxRequest, JoinedGuest

__all__ = [
    "CODE",
    "FINAL",
    "LIVE",
    "CancelMark",
    "InboxRequest",
    "Instant",
    "JoinedGuest",
    "Reservation",
    "ReservationQuerySet",
    "Status",
    "Voucher",
]
