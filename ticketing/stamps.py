"""Check the stamp of an account: its cookies and refresh tokens must carry it to be valid.

It changes with the password, with each sign-out and when the account is closed (by a trigger). A closed or deleted
account has none. PostgreSQL has the true value. Redis keeps a copy for `KEPT_SECONDS`, which each change writes after
its commit, so that a cookie costs no query. While Redis is away, a process asks PostgreSQL at most once a second per
account. The process that changed a stamp meanwhile tries to write it until Redis is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from base.threads import keep_running
from realtime import wire
from reservations.claims import claims, keys
from reservations.claims.claims import FAILURES

KEPT_SECONDS = 60
LATELY_SECONDS = 1.0
LATE_SECONDS = 0.2
MOST_REMEMBERED = 10_000
NONE = "-"  # stamp of a closed or deleted account; no cookie carries it

log = structlog.get_logger(__name__)


def is_current(account: UUID, stamp: str) -> bool:
    """Tell whether a cookie or token with this stamp is valid. Raises: DatabaseError, if that cannot be checked."""
    return stamp not in {"", NONE} and stamp == _stamp_of(account)


def _stamp_of(account: UUID) -> str:
    try:
        with claims.breaker:
            kept: Any = claims.client().get(_key(account))
    except FAILURES:
        return _lately.stamp_of(account)
    if kept is not None:
        return str(kept)
    stamp = _read([account])[account]
    try:
        with claims.breaker:
            claims.client().set(_key(account), stamp, nx=True, ex=KEPT_SECONDS)
    except FAILURES as error:
        log.debug("stamps.not_kept", error=repr(error))
    return stamp


def publish(accounts: Collection[UUID]) -> None:
    """Write the stamps of changed accounts after the commit, and close the sockets of accounts with another stamp."""
    if accounts:
        transaction.on_commit(partial(_publish, list(accounts)))


def _publish(accounts: Collection[UUID]) -> None:
    _lately.forget(accounts)
    stamps = _read(accounts)
    try:
        before = _write(stamps)
    except FAILURES as error:
        log.warning("stamps.not_published", accounts=len(stamps), error=repr(error))
        _late.add(accounts)
        before = [None] * len(stamps)
    for (account, stamp), old in zip(stamps.items(), before, strict=True):
        if stamp != old:
            wire.send_personal(buyer=account, message={"type": wire.SIGNED_OUT})


def _write(stamps: Mapping[UUID, str]) -> list[Any]:
    """Write the stamps, and return what Redis had before. Raises: the errors in FAILURES."""
    with claims.breaker:
        pipe = claims.client().pipeline(transaction=False)
        for account, stamp in stamps.items():
            pipe.set(_key(account), stamp, ex=KEPT_SECONDS, get=True)
        return list(pipe.execute())


def _read(accounts: Collection[UUID]) -> dict[UUID, str]:
    users = apps.get_model("ticketing", "User").objects.filter(pk__in=accounts, is_active=True)
    return dict.fromkeys(accounts, NONE) | {user.pk: user.stamp for user in users}


def _key(account: UUID) -> str:
    return keys.key("stamp", account)


class _Lately:
    """Keep what this process read from PostgreSQL within the last second, while Redis is away."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def stamp_of(self, account: UUID) -> str:
        with self._lock:
            until, stamp = self._known.get(account, (0.0, NONE))
        if until > time.monotonic():
            return stamp
        stamp = _read([account])[account]
        with self._lock:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[account] = time.monotonic() + LATELY_SECONDS, stamp
        return stamp

    def forget(self, accounts: Collection[UUID]) -> None:
        with self._lock:
            for account in accounts:
                self._known.pop(account, None)


_lately = _Lately()


class _Late:
    """Write stamps that changed while Redis was away in a thread, as soon as it is back, before an old copy is used."""

    def __init__(self) -> None:
        self._accounts: set[UUID] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, accounts: Collection[UUID]) -> None:
        with self._changed:
            self._accounts.update(accounts)
            self._changed.notify()
            if (
                self._thread is None or not self._thread.is_alive()
            ):  # a forked child has its parent's object but not its thread
                self._thread = keep_running(self._write_when_back, name="late-stamps")

    def _write_when_back(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._accounts)
            accounts = set(self._accounts)
        try:
            _write(_read(accounts))
        except (*FAILURES, DatabaseError):
            time.sleep(LATE_SECONDS)
            return
        finally:
            connection.close()  # back to the pool
        log.info("stamps.published_late", accounts=len(accounts))
        with self._changed:
            self._accounts -= accounts


_late = _Late()
