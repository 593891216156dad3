"""Every connection takes a file descriptor: ask the system for as many as it gives."""

from __future__ import annotations

import resource

KEPT = 256  # for files, PostgreSQL, Redis and RabbitMQ
MOST = 65_536  # connections a process; beyond that start more processes


def most_connections() -> int:
    """Raise this process's limit of open files as far as it may, and return how many clients can be connected then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + KEPT if hard == resource.RLIM_INFINITY else min(hard, MOST + KEPT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = MOST + KEPT if soft == resource.RLIM_INFINITY else soft
    return max(1, min(MOST, files - KEPT))
