"""Define `manage.py relay`, which does what must go on even if only PostgreSQL is left."""

import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error as DatabaseError
from django.db import close_old_connections
from prometheus_client import Counter

from realtime import relay, wire
from realtime.leadership import Leadership
from reservations import exposition
from reservations.claims import pace
from reservations.operations import queued, sweeps
from reservations.queueing import liveness, queue_watch, watchdog
from reservations.queueing.letters import OutOfReach
from reservations.queueing.queues import QueueDown
from reservations.staff import dead_letters
from ticketing.checks import refuse_demo_accounts
from ticketing.orders import orders
from ticketing.payments import collecting, refunds, sweeping, webhooks
from ticketing.upkeep import auditing
from ticketing.upkeep.figures import Installation

BEAT_IS_SILENT = 3.0  # seconds after its expiry until a hold is ended here instead of by beat
PAUSE_AFTER_FAILURE = 1.0
LONGEST_ROUND = (
    300.0  # seconds of one round of a duty, after which it hangs; refunds of a called-off hall take their time
)
FIRST_AUDIT = 30.0
LAST_ROUND = 3.0  # seconds in which the duties may finish their work

FAILURES = Counter("frontrow_relay_failures", "Failed rounds of the relay", ["duty"])

log = structlog.get_logger(__name__)


@dataclass
class Duty:
    """Describe a periodic duty. `do` returns true if more work waits, and is then called again at once."""

    name: str
    do: Callable[[], bool]
    every: float
    failing: bool = False
    began: float | None = None  # start of the current round
    first_after: float = 0.0  # seconds

    def perform(self) -> bool:
        """Perform one round. An outage is logged when it begins and when it ends."""
        self.began = time.monotonic()
        try:
            return self._perform()
        finally:
            self.began = None

    def _perform(self) -> bool:
        close_old_connections()
        try:
            more = self.do()
        except (DatabaseError, relay.NotPublished, OutOfReach, QueueDown, auditing.Unfinished) as error:
            self._failed()
            if not self.failing:
                log.warning("relay.failing", duty=self.name, error=type(error).__name__, said=str(error))
            self.failing = True
            return False
        except Exception:
            self._failed()
            log.exception("relay.failed", duty=self.name)
            self.failing = True
            return False
        if self.failing:
            log.warning("relay.recovered", duty=self.name)
        self.failing = False
        return more

    def perform_until(self, stop: threading.Event) -> None:
        stop.wait(self.first_after)
        while not stop.is_set():
            if not self.perform():
                stop.wait(max(self.every, PAUSE_AFTER_FAILURE) if self.failing else self.every)

    def _failed(self) -> None:
        FAILURES.labels(self.name).inc()


def duties(publisher: relay.Publisher, lead: Leadership) -> list[Duty]:
    """Return the duties of a relay. Only the active relay publishes, to keep the order of events.

    The others run in every relay, beside workers and beat that do the same. Each takes locks of its own or is safe to
    repeat. So a relay that hangs delays none of them.
    """
    return [
        Duty("publish", lambda: publish(publisher, lead), every=0.2),
        Duty("inbox", drain_inboxes, every=0.5),
        Duty("expire", expire_when_beat_is_silent, every=1.0),
        Duty("payments", sweep_payments, every=5.0),
        Duty("orders", lambda: orders.sweep() == orders.SWEPT, every=1.0),
        Duty("dead_letters", sweep_dead_letters, every=5.0),
        Duty("rates", tell_the_rates, every=5.0),
        Duty("queues", queue_watch.QueueWatch().look, every=1.0),
    ]


def publish(publisher: relay.Publisher, lead: Leadership) -> bool:
    """Publish one batch. The active relay then reports that it works."""
    published = relay.publish_batch(publisher, lead)
    if lead.is_active:
        liveness.worked("relay")
    return published == relay.BATCH


def audits(lead: Leadership) -> list[Duty]:
    """Return the audit's duty; its first round comes after a few rounds of the other duties."""
    every = 60.0 * settings.AUDIT_EVERY_MINUTES
    return [Duty("audit", lambda: audit_if_active(lead), every=every, first_after=FIRST_AUDIT)] if every else []


def drain_inboxes() -> bool:
    for shard in range(settings.SHARDS):
        queued.drain_inbox(shard=shard)
    return False


def expire_when_beat_is_silent() -> bool:
    if sweeps.count_expired_holds(grace_seconds=BEAT_IS_SILENT):
        sweeps.expire_holds()
    sweeps.look_after_standby()
    return False


def sweep_payments() -> bool:
    webhooks.deliver_sandbox()
    sweeping.sweep_payments()
    refunds.sweep_refunds()
    collecting.give_uncollected_back()
    return False  # the next round takes an attempt that stays open


def sweep_dead_letters() -> bool:
    swept = dead_letters.sweep()
    dead_letters.count_waiting()
    return swept == dead_letters.SWEEP


def tell_the_rates() -> bool:
    pace.tell_the_rates()
    return False


def audit_if_active(lead: Leadership) -> bool:
    """Audit in one relay only, because the audit reads much."""
    if lead.is_active:
        auditing.audit()
    else:
        auditing.forget()
    return False


class Command(BaseCommand):
    help = "Publish events, allocate requests of the inbox, end holds when beat is silent, and sweep open payments."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do all waiting work, then end")

    @refuse_demo_accounts()
    def handle(self, *, once: bool, **_options: Any) -> None:
        publisher, lead = relay.Publisher(settings.CELERY_BROKER_URL), Leadership()
        if once:
            for duty in duties(publisher, lead):
                while duty.perform():
                    pass
        else:
            if settings.METRICS_PORT:
                exposition.serve(settings.METRICS_PORT, Installation())
            perform_until_stopped([*duties(publisher, lead), *audits(lead)])
        publisher.close()
        lead.give_up()
        wire.flush()


def perform_until_stopped(duties: list[Duty]) -> None:
    """Run each duty in its own thread: a broker that hangs does not stop the inbox, nor a slow gateway the events."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    threads = [threading.Thread(target=duty.perform_until, args=[stop], name=duty.name, daemon=True) for duty in duties]
    for thread in threads:
        thread.start()
    log.info("relay.started")
    while not stop.wait(1.0):
        look_after(duties, threads)
    deadline = time.monotonic() + LAST_ROUND
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    log.info("relay.stopped")


def look_after(duties: list[Duty], threads: list[threading.Thread]) -> None:
    """End this process if a duty hangs or its thread is gone, so that it is started again."""
    for duty, thread in zip(duties, threads, strict=True):
        began = duty.began
        seconds = time.monotonic() - began if began is not None else 0.0
        if seconds > LONGEST_ROUND or not thread.is_alive():
            watchdog.end_hanging(seconds=seconds, what=duty.name)
    watchdog.show_pulse(at_work=True)
