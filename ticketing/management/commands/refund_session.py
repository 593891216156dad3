"""`manage.py refund_session`: everybody's money back, with a bar that shows how far it is; begun again, it goes on."""

import sys
import time
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from realtime import causes
from sessions_app.models import Session
from ticketing import bells, refunds

LOOK_AGAIN = 1.0  # seconds
PATIENCE = 60.0  # seconds without any progress: workers and sweeps go on, with or without somebody who watches


class Command(BaseCommand):
    help = "Give everybody's money back for a session that was called off; --call-off does that first. Stop and repeat it as you like."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("session", type=UUID)
        parser.add_argument("--call-off", action="store_true", help="nothing of it is sold from now on")

    @causes.working_for(causes.job("refund_session"))
    def handle(self, *, session: UUID, call_off: bool, **_options: Any) -> None:
        try:
            found = refunds.call_off(session_id=session) if call_off else Session.objects.get(pk=session)
        except Session.DoesNotExist:
            raise CommandError(f"There is no session {session}.") from None
        if found.cancelled_at is None:
            raise CommandError(
                "The session is on. With --call-off it is called off, and everybody gets their money back."
            )
        with tqdm(unit="sale", disable=not sys.stderr.isatty()) as bar:
            how_far = self._follow(session, bar)
        self.stdout.write(
            f"{how_far.paid_back} of {how_far.sales} sales paid back, {how_far.to_hand_out} to hand out at the counter, "
            f"{how_far.refused} refused by a gateway."
        )
        if not how_far.is_over:
            raise CommandError("The rest is on its way: workers and sweeps go on. Repeat the command to watch.")

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
