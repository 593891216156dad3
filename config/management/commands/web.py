"""`manage.py web`: the site over HTTP, without sockets."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from granian import Granian
from granian.constants import Interfaces

from config.management.listening import add_address


class Command(BaseCommand):
    help = "Serve pages and API over HTTP (granian, WSGI). Sockets are `live`'s."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)
        parser.add_argument("--workers", type=int, default=settings.WEB_PROCESSES)
        parser.add_argument("--threads", type=int, default=settings.WEB_THREADS, help="per worker")

    def handle(self, *, host: str, port: int, workers: int, threads: int, **_options: Any) -> None:
        Granian(
            "config.wsgi:application",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=workers,
            blocking_threads=threads,
            backpressure=2 * threads,
            respawn_failed_workers=True,
            workers_kill_timeout=4,
            websockets=False,
        ).serve()
