"""`manage.py worker`: settles holds; with --jobs payments, expiry and mail."""

import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from prometheus_client import start_http_server

from config.blocking_worker import BlockingWorker
from config.celery import app

JOBS = ["payments", "housekeeping", "mail"]


class Command(BaseCommand):
    help = "Settle holds, in order; with --jobs: take payments, expire holds, send mail."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--jobs", action="store_true", help=f"serve the queues {', '.join(JOBS)} instead")
        parser.add_argument("--shards", default="", help="only these, for example 0,2 (default: all of SHARDS)")
        parser.add_argument("--threads", type=int, default=8, help="of --jobs; settling has one, for order's sake")
        parser.add_argument("-n", "--name", default="", help="must be unique; made from host and process if absent")

    def handle(self, *, jobs: bool, shards: str, threads: int, name: str, **_options: Any) -> None:
        if settings.METRICS_PORT:
            start_http_server(settings.METRICS_PORT)
        kind = "jobs" if jobs else "settle"
        worker = BlockingWorker(
            app=app,
            hostname=name or f"{kind}-{os.getpid()}@{socket.gethostname()}",
            pool_cls="threads" if jobs else "solo",
            concurrency=threads if jobs else 1,
            prefetch_multiplier=1 if jobs else 4,
            queues=JOBS if jobs else holds(shards),
            loglevel=settings.LOG_LEVEL,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        worker.start()
        raise SystemExit(worker.exitcode)


def holds(shards: str) -> list[str]:
    """The queues of some shards, or of all."""
    chosen = [int(shard) for shard in shards.split(",")] if shards else range(settings.SHARDS)
    return [f"holds.{shard}" for shard in chosen]
