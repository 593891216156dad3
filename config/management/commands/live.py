"""Define `manage.py live`, which serves the WebSockets."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.run.listening import add_address, serve_asgi
from ticketing.checks import refuse_demo_accounts


class Command(BaseCommand):
    help = "Serve /ws/ (uvicorn, Channels). `web` serves everything else."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address(parser)

    @refuse_demo_accounts()
    def handle(self, *, host: str, port: int, **_options: Any) -> None:
        serve_asgi("config.asgi:application", host=host, port=port)
