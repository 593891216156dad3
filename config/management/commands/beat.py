"""Define `manage.py beat`, which sends periodic jobs."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.celery import app
from reservations import exposition
from reservations.queueing.watchdog import Watchdog
from ticketing.checks import refuse_demo_accounts


class Command(BaseCommand):
    help = "Send the periodic jobs to the workers. One beat is enough; a second one does no harm."
    requires_system_checks = ()

    @refuse_demo_accounts()
    def handle(self, **_options: Any) -> None:
        if settings.METRICS_PORT:
            exposition.serve(settings.METRICS_PORT)
        Watchdog().start()
        app.Beat(scheduler="config.run.beat:Scheduler", loglevel=settings.LOG_LEVEL, quiet=True).run()
