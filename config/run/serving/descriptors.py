"""Raise the limit of open files, because every connection takes a file descriptor."""

from __future__ import annotations

import resource

KEPT = 256  # for files, PostgreSQL, Redis and RabbitMQ
MOST = 65_536  # connections per process; for more, start more processes


def most_connections() -> int:
    """Raise this process's limit of open files as far as allowed, and return how many clients can connect then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + KEPT if hard == resource.RLIM_INFINITY else min(hard, MOST + KEPT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = MOST + KEPT if soft == resource.RLIM_INFINITY else soft
    return max(1, min(MOST, files - KEPT))
