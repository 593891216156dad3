"""A request at the front door, and the answer that it waits for."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import uuid
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from reservations.claims import claims
from reservations.claims.claims import Applicant, Limit, Verdict
from reservations.hold_request import HoldRequest
from reservations.queueing.queues import QueueDown

LATE_SECONDS = 60  # after signing in, what the guest sent may be on its way
ANSWER_SECONDS = 15.0  # longer than every deadline on the way; only a wedged process gets here


class OutcomeUnknown(QueueDown):
    """It can't be known now whether the request is stored. The same key, sent again, is never carried out twice."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted request. `outcome`: its final body when it came in time; `replay`: the first answer (status, JSON body) of a used key."""

    request: HoldRequest
    replayed: bool = False
    replay: tuple[int, str] | None = None
    outcome: dict[str, Any] | None = None
    waited: bool = False

    @property
    def id(self) -> uuid.UUID:
        return self.request.id


@dataclasses.dataclass(eq=False, slots=True)
class Entry:
    """Somebody at the door; `wait`: how many seconds for the outcome."""

    applicant: Applicant
    wait: float = 0
    answer: concurrent.futures.Future[Admission] = dataclasses.field(default_factory=concurrent.futures.Future)

    is_late: bool = False  # by a guest who signed in a while ago
    stored: bool = False  # then its answer is that, whatever fails afterwards
    unsure: bool = False  # a queue may have it

    @property
    def request(self) -> HoldRequest:
        return self.applicant.request

    def fail(self, error: QueueDown) -> None:
        """Answer as is true, unless that is done: accepted if it is stored, not known if it may be; else refused with the error."""
        if self.answer.done():
            return
        if self.stored:
            self.answer.set_result(Admission(request=self.request))
        else:
            self.answer.set_exception(OutcomeUnknown() if self.unsure else error)


def answer_of(entry: Entry) -> Admission:
    """What the door says. An entry that it hasn't begun with in time is withdrawn, and is certain never to be stored.

    Raises: what the door refuses with; QueueDown; OutcomeUnknown, when it takes too long to store it.
    """
    try:
        return entry.answer.result(timeout=ANSWER_SECONDS)
    except TimeoutError:
        if entry.answer.cancel():
            raise QueueDown("the front door did not come to it") from None
    try:  # it is being stored at this moment
        return entry.answer.result(timeout=ANSWER_SECONDS)
    except TimeoutError:
        raise OutcomeUnknown from None


def as_account(entry: Entry, joined: Verdict) -> None:
    """What the guest asks, the account asks: see Note [One person, two names] in people.py. A while later only what it asked before."""
    entry.applicant.request = msgspec.structs.replace(entry.request, buyer=joined.id)
    if joined.since > LATE_SECONDS:
        entry.is_late, entry.applicant.limits = True, [Limit(0)]  # a key that is known is answered before limits count


def note(entries: Sequence[Entry], *, stored: Collection[uuid.UUID] = (), unsure: Collection[uuid.UUID] = ()) -> None:
    """Remember of each entry what a queue said of it."""
    for entry in entries:
        entry.stored = entry.stored or entry.request.id in stored
        entry.unsure = entry.unsure or entry.request.id in unsure


def verdicts_on(entries: Sequence[Entry]) -> dict[Entry, Verdict]:
    """Raises: NoClaims."""
    if not entries:
        return {}
    return dict(zip(entries, claims.admit([entry.applicant for entry in entries]), strict=True))


def draws_of(entries: Sequence[Entry]) -> claims.Draws:
    """As they were claimed."""
    return {
        entry.request.ticket_type: [level.of for level in entry.applicant.levels[1:]]
        for entry in entries
        if entry.request.ticket_type and entry.applicant.levels
    }
