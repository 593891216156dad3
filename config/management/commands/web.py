"""Define `manage.py web`, which serves the site over HTTP, without sockets."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from config.checks import warn_of_redirects
from config.run.listening import BACKLOG, add_address
from config.run.serving.descriptors import most_connections
from config.run.serving.guard import HEAD_SECONDS
from ticketing.checks import refuse_demo_accounts


class Command(BaseCommand):
    help = "Serve the pages and the API over HTTP (granian). `live` serves the sockets."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)
        parser.add_argument("--workers", type=int, default=settings.WEB_PROCESSES)
        parser.add_argument("--threads", type=int, default=settings.WEB_THREADS, help="per worker")

    @refuse_demo_accounts()
    def handle(self, *, host: str, port: int, workers: int, threads: int, **_options: Any) -> None:
        warn_of_redirects()
        os.environ["WEB_THREADS"] = str(threads)  # the workers read their settings again
        Granian(
            "config.asgi_web:application",
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            workers=workers,
            http=HTTPModes.http1,  # a search for HTTP/2 would wait for ever for a silent client
            http1_settings=HTTP1Settings(header_read_timeout=int(HEAD_SECONDS * 1000)),  # also limits an idle client
            backlog=BACKLOG,
            backpressure=most_connections(),
            respawn_failed_workers=True,
            workers_kill_timeout=4,
            websockets=False,
            log_dictconfig={
                "loggers": {name: settings.LOGGING["loggers"][name] for name in ("_granian", "granian.access")}
            },
        ).serve()
