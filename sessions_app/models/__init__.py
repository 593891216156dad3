"""Define the tables of the catalogue: venues and their halls, shows, sessions with their seats and ticket types."""

from sessions_app.models.halls import MAX_SEATS, Chair, Hall, HallSeat, SeatKind, Venue
from sessions_app.models.prices import Concession, Pool, TicketType
from sessions_app.models.seats import Seat, SeatQuerySet, SeatStatus
from sessions_app.models.sessions import (
    HEAVIEST_LANE,
    HIGHEST_FEE,
    WHOLE,
    Lane,
    Session,
    SessionQuerySet,
    Show,
    TsTzRange,
    currency_code,
    new_lane_code,
    shard_of,
)

__all__ = [
    "HEAVIEST_LANE",
    "HIGHEST_FEE",
    "MAX_SEATS",
    "WHOLE",
    "Chair",
    "Concession",
    "Hall",
    "HallSeat",
    "Lane",
    "Pool",
    "Seat",
    "SeatKind",
    "SeatQuerySet",
    "SeatStatus",
    "Session",
    "SessionQuerySet",
    "Show",
    "TicketType",
    "TsTzRange",
    "Venue",
    "currency_code",
    "new_lane_code",
    "shard_of",
]
