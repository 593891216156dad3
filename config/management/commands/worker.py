"""Define `manage.py worker`, which allocates holds.

With --payments it takes payments, with --jobs it expires holds and sends mail.
"""

import os
import socket
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection

from base.postgresql import patience
from config.celery import app
from config.run.blocking_worker import BlockingWorker
from config.run.thread_pool import ThreadPool
from reservations import exposition
from reservations.queueing.liveness import JOBS
from reservations.queueing.watchdog import Watchdog
from ticketing.checks import refuse_demo_accounts

POOL_SECONDS = 30  # how long a payment thread waits for a connection
PAYMENT_THREADS = 128  # they wait for gateways: at 300 ms per answer, each takes less than two payments a second


class Command(BaseCommand):
    help = "Allocate places in order. With --payments, take payments. With --jobs, expire holds and send mail."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument("--payments", action="store_true", help="serve only the queue payments")
        kind.add_argument("--jobs", action="store_true", help=f"serve the queues {', '.join(JOBS)} instead")
        parser.add_argument(
            "--shards", default="", help="serve only these shards, for example 0,2 (default: all of SHARDS)"
        )
        parser.add_argument(
            "--threads",
            type=int,
            help=(
                "the number of threads of --payments (default 128) and --jobs (default 8); allocation has one "
                "thread to keep the order"
            ),
        )
        parser.add_argument(
            "-n",
            "--name",
            default="",
            help="the name of this worker, which must be unique (default: made from host and process)",
        )

    @refuse_demo_accounts()
    def handle(
        self, *, payments: bool, jobs: bool, shards: str, threads: int | None, name: str, **_options: Any
    ) -> None:
        patience.wait_at_most(settings.DB_ANSWER_SECONDS)
        if settings.METRICS_PORT:
            exposition.serve(settings.METRICS_PORT)
        if payments:
            kind, queues, concurrency = "payments", ["payments"], threads or PAYMENT_THREADS
            # Many threads share few connections, each for an instant. No request waits for an answer from these
            # threads.
            connection.settings_dict["OPTIONS"]["pool"]["timeout"] = POOL_SECONDS
        elif jobs:
            kind, queues, concurrency = "jobs", list(JOBS), threads or 8
        else:
            kind, queues, concurrency = "allocate", holds(shards), 1
        worker = BlockingWorker(
            app=app,
            hostname=name or f"{kind}-{os.getpid()}@{socket.gethostname()}",
            pool_cls="solo" if kind == "allocate" else ThreadPool,
            concurrency=concurrency,
            # Two per payment thread: an ack waits for the loop's next turn, and no payment must wait for that.
            prefetch_multiplier={"allocate": 16, "payments": 2, "jobs": 1}[kind],
            queues=queues,
            loglevel=settings.LOG_LEVEL,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        # A worker that allocates runs tasks in its loop, so a hanging task holds up the loop. The other workers' loops
        # go on.
        Watchdog(let_go=partial(let_go, worker) if kind == "allocate" else None).start()
        worker.start()
        raise SystemExit(worker.exitcode)


def let_go(worker: BlockingWorker) -> None:
    if worker.consumer:
        worker.consumer.hang_up()


def holds(shards: str) -> list[str]:
    """Return the queues of these shards, or of all."""
    chosen = [int(shard) for shard in shards.split(",")] if shards else range(settings.SHARDS)
    return [f"holds.{shard}" for shard in chosen]
