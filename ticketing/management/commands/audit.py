import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

import realtime.audit
from ticketing.upkeep.auditing import CHECKS

MOST_LINES = 5  # lines per check; --json shows all


class Command(BaseCommand):
    help = (
        "Look for errors that must never happen: seats sold twice, forgotten holds, tickets without a sale. The "
        "exit code is 1 if there are findings."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")

    def handle(self, **options: Any) -> None:
        findings = list(realtime.audit.run(CHECKS))
        (self._as_json if options["json"] else self._as_text)(findings)
        if findings:
            sys.exit(1)

    def _as_json(self, findings: list[realtime.audit.Finding]) -> None:
        report = {
            "sound": not findings,
            "checks": [check.name for check in CHECKS],
            "findings": [asdict(found) for found in findings],
        }
        self.stdout.write(json.dumps(report))

    def _as_text(self, findings: list[realtime.audit.Finding]) -> None:
        for check in CHECKS:
            found = [finding.facts for finding in findings if finding.check == check.name]
            if found:
                self.stdout.write(f"{check.name}: {check.says}")
            for facts in found[:MOST_LINES]:
                self.stdout.write("    " + ", ".join(f"{name} {value}" for name, value in facts.items()))
            if len(found) > MOST_LINES:
                self.stdout.write(f"    and {len(found) - MOST_LINES} more")
        self.stdout.write(f"{len(CHECKS)} checks, {len(findings)} findings.")
