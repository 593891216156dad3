"""Hold a request at the front door, and the answer that its web request waits for."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import uuid
from collections.abc import Collection, Sequence

import msgspec

from base import parking
from reservations.bodies import ReservationBody
from reservations.claims import claims
from reservations.claims.claims import Applicant, Limit, Verdict
from reservations.hold_request import HoldRequest
from reservations.queueing.queues import QueueDown

LATE_SECONDS = 60  # requests that the guest sent may still be on their way this long after signing in
ANSWER_SECONDS = 15.0  # longer than every deadline of a batch; only a wedged process takes longer


class OutcomeUnknown(QueueDown):
    """It is unknown whether the request is stored. The same key, sent again, is never carried out twice."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted request.

    `outcome` is its final body, if that came in time. `replay` is the first answer (status, JSON body) of a used key.
    """

    request: HoldRequest
    replayed: bool = False
    replay: tuple[int, str] | None = None
    outcome: ReservationBody | None = None
    waited: bool = False

    @property
    def id(self) -> uuid.UUID:
        return self.request.id


@dataclasses.dataclass(eq=False, slots=True)
class Entry:
    """A request at the front door; `wait` is how many seconds it waits for the outcome."""

    applicant: Applicant
    wait: float = 0
    answer: concurrent.futures.Future[Admission] = dataclasses.field(default_factory=concurrent.futures.Future)

    is_late: bool = False  # sent by a guest who signed in a while ago
    stored: bool = False  # a stored request is answered as accepted, whatever fails afterwards
    unsure: bool = False  # a queue may have it

    @property
    def request(self) -> HoldRequest:
        return self.applicant.request

    def fail(self, error: QueueDown) -> None:
        """Answer unless that is done: accepted if it is stored, unknown if it may be, else the error."""
        if self.answer.done():
            return
        if self.stored:
            self.answer.set_result(Admission(request=self.request))
        else:
            self.answer.set_exception(OutcomeUnknown() if self.unsure else error)


def answer_of(entry: Entry) -> Admission:
    """Return the front door's answer.

    An entry that the front door hasn't begun with in time is withdrawn, and is certain never to be stored.

    Raises: the refusals of admission; QueueDown; OutcomeUnknown, when it takes too long to store it.
    """
    try:
        return parking.wait(entry.answer, seconds=ANSWER_SECONDS)
    except TimeoutError:
        if entry.answer.cancel():
            raise QueueDown("the front door did not come to it") from None
    try:  # the front door is storing it at this moment
        return parking.wait(entry.answer, seconds=ANSWER_SECONDS)
    except TimeoutError:
        raise OutcomeUnknown from None


def as_account(entry: Entry, joined: Verdict) -> None:
    """Make the account the buyer of its guest's request. See Note [One person, two names] in people.py.

    Some time after signing in, only keys that the guest used before are answered.
    """
    entry.applicant.request = msgspec.structs.replace(entry.request, buyer=joined.id)
    if joined.since > LATE_SECONDS:
        entry.is_late, entry.applicant.limits = True, [Limit(0)]  # a known key is answered before limits count


def note(entries: Sequence[Entry], *, stored: Collection[uuid.UUID] = (), unsure: Collection[uuid.UUID] = ()) -> None:
    """Note for each entry whether a queue stored it or may have stored it."""
    for entry in entries:
        entry.stored = entry.stored or entry.request.id in stored
        entry.unsure = entry.unsure or entry.request.id in unsure


def verdicts_on(entries: Sequence[Entry]) -> dict[Entry, Verdict]:
    """Ask Redis to admit the entries; return its verdicts. Raises: NoClaims."""
    if not entries:
        return {}
    return dict(zip(entries, claims.admit([entry.applicant for entry in entries]), strict=True))


def draws_of(entries: Sequence[Entry]) -> claims.Draws:
    """Return what the entries' ticket types draw on, as it was claimed."""
    return {
        entry.request.ticket_type: [level.of for level in entry.applicant.levels[1:]]
        for entry in entries
        if entry.request.ticket_type and entry.applicant.levels
    }
