"""Define `manage.py refund_session`: refund all tickets and show the progress. A repeated call continues."""

import sys
import time
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from tqdm import tqdm

from base import causes
from reservations.allocation import locks
from sessions_app.models import Session
from sessions_app.staff import terminal
from sessions_app.staff.questions import Question
from ticketing.payments import bells, refunds
from ticketing.payments.giving_back import calling_off

LOOK_AGAIN = 1.0  # seconds
PATIENCE = 60.0  # seconds without any progress; workers and sweeps continue even if no terminal watches


class Command(BaseCommand):
    help = (
        "Give back all money of a session that was called off. --call-off calls it off first. You can stop and "
        "repeat the command at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session", type=UUID)
        parser.add_argument(
            "--call-off",
            action="store_true",
            help="call the session off first, after a question, so that it sells nothing more",
        )
        terminal.add_yes(parser)

    @causes.working_for(causes.job("refund_session"))
    def handle(self, *, session: UUID, call_off: bool, yes: bool, **_options: Any) -> None:
        found = Session.objects.select_related("show").filter(pk=session).first()
        if found is None:
            raise CommandError(f"There is no session {session}.")
        if found.cancelled_at is None:
            if not call_off:
                raise CommandError(
                    "The session was not called off. With --call-off, the command calls it off, and all buyers "
                    "get their money back."
                )
            self._call_off(found, yes=yes)
        with tqdm(unit="sale", disable=not sys.stderr.isatty()) as bar:
            how_far = self._follow(session, bar)
        self.stdout.write(
            f"{how_far.paid_back} of {how_far.sales} sales paid back, {how_far.to_hand_out} to hand out "
            f"at the counter, {how_far.refused} refused by a gateway."
        )
        if not how_far.is_over:
            raise CommandError("Workers and sweeps will pay back the rest. Repeat the command to watch.")

    def _call_off(self, session: Session, *, yes: bool) -> None:
        """Ask, and ask again if the facts change before the answer."""
        asked: Question | None = None
        while True:
            with transaction.atomic():
                locks.lock_sessions([session.pk])  # nothing is sold until it is called off
                question = calling_off([session])
                if asked is not None and (yes or question.stamp == asked.stamp):
                    refunds.call_off(session_id=session.pk)
                    return
            if asked is not None:
                self.stdout.write(
                    "This has changed since the question, so nothing was done. Check the figures and answer again."
                )
            terminal.require_yes(self, question, yes=yes)
            asked = question

    def _follow(self, session: UUID, bar: tqdm) -> refunds.Progress:
        last = time.monotonic()
        while True:
            refunds.refund_everybody(session_id=session, each=lambda refund: bells.ring_refund(refund.pk))
            how_far = refunds.progress(session)
            done = how_far.done
            if done > bar.n:
                last = time.monotonic()
            bar.total, bar.n = how_far.sales, done
            bar.refresh()
            if how_far.is_over or time.monotonic() - last > PATIENCE:
                return how_far
            time.sleep(LOOK_AGAIN)
