import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from realtime import wire
from reservations.operations import sweeps


class Command(BaseCommand):
    help = (
        "Free the seats of expired holds. Beat does this each second. Use this command when beat is down, or to look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="sweep once and stop, instead of sweeping each second")
        parser.add_argument("--dry-run", action="store_true", help="only print how many expired holds there are")
        parser.add_argument(
            "--limit", type=int, default=50_000, help="end at most this many holds per sweep (default 50000)"
        )

    def handle(self, *, once: bool, dry_run: bool, limit: int, **options: Any) -> None:
        if dry_run:
            self.stdout.write(f"{sweeps.count_expired_holds()} expired holds wait to be freed.")
            return
        while True:
            if ended := sweeps.expire_holds(limit=limit) or once:
                self.stdout.write(f"Freed {int(ended)} holds.")
            if once:
                wire.flush()
                return
            time.sleep(1)
