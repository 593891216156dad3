"""Define `manage.py both`, which serves site and sockets on one port, for one machine and few people."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.checks import warn_of_redirects
from config.run.listening import add_address, serve_asgi
from ticketing.checks import refuse_demo_accounts


class Command(BaseCommand):
    help = "Serve the pages, the API and /ws/ on one port (uvicorn). For a crowd, run `web` and `live` behind a proxy."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)

    @refuse_demo_accounts()
    def handle(self, *, host: str, port: int, **_options: Any) -> None:
        warn_of_redirects()
        serve_asgi("config.asgi:application", host=host, port=port)
