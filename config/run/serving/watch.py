"""Check this process's connections once a second.

Granian accepts connections where Python cannot see them, so `LIMIT_CONNECTIONS_ADDRESS` is applied to the kernel's
list.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import structlog
from django.conf import settings
from prometheus_client import Gauge

from base.addresses import is_trusted, peer_of

log = structlog.get_logger(__name__)

SECONDS = 1.0
DESCRIPTORS = "/dev/fd"

CONNECTIONS = Gauge("frontrow_connections", "Open connections of clients.", multiprocess_mode="livesum")


@dataclass(frozen=True)
class Seen:
    """Hold the result of one look: inode → address of the peer, empty for a socket that no client opened."""

    peers: dict[int, str] = field(default_factory=dict)
    ports: frozenset[int] = frozenset()
    closed: int = 0


def start() -> None:
    """Start a thread that looks from now on."""
    threading.Thread(target=_look_for_ever, name="watch", daemon=True).start()


def _look_for_ever() -> None:
    pause, seen = threading.Event(), Seen()
    while not pause.wait(SECONDS):
        seen = look(seen)
        CONNECTIONS.set(sum(map(bool, seen.peers.values())))


def look(before: Seen) -> Seen:
    """List the connections, and close those above `LIMIT_CONNECTIONS_ADDRESS` of an address, the latest first."""
    descriptors = dict(_sockets())
    ports = before.ports or _listened(descriptors)
    peers = {
        inode: before.peers[inode] if inode in before.peers else _client(descriptor, ports)
        for inode, descriptor in descriptors.items()
    }
    limit = settings.LIMIT_CONNECTIONS_ADDRESS
    counted = Counter(filter(None, peers.values())) if settings.RATE_LIMITS else Counter[str]()
    surplus = {peer: number - limit for peer, number in counted.items() if number > limit and not is_trusted(peer)}
    closed = 0
    for inode in sorted(peers, key=lambda inode: (inode not in before.peers, inode), reverse=True) if surplus else ():
        if surplus.get(peers[inode], 0) > 0:
            surplus[peers[inode]] -= 1
            closed += _shut(descriptors[inode], inode)
    if closed:
        log.warning("connections.too_many", closed=closed)
    return Seen(peers, ports, closed)


def _sockets() -> Iterator[tuple[int, int]]:
    """List inode and descriptor of each socket of this process."""
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # closed in the meantime
            found = os.fstat(int(name))
            if stat.S_ISSOCK(found.st_mode):
                yield found.st_ino, int(name)


@contextmanager
def _opened(descriptor: int) -> Iterator[socket.socket]:
    """Lend the socket under a descriptor of its own, because the other may be closed and reused at any moment.

    Raises: OSError.
    """
    own = os.dup(descriptor)
    try:
        connection = socket.socket(fileno=own)
    except OSError:
        os.close(own)
        raise
    with connection:
        yield connection


def _listened(descriptors: dict[int, int]) -> frozenset[int]:
    """Return the ports on which this process listens."""
    ports = set()
    for descriptor in descriptors.values():
        with suppress(OSError), _opened(descriptor) as listener:
            if listener.family != socket.AF_UNIX and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                ports.add(listener.getsockname()[1])
    return frozenset(ports)


def _client(descriptor: int, ports: frozenset[int]) -> str:
    """Return the peer's address of a connection that was accepted here; empty for any other socket."""
    with suppress(OSError), _opened(descriptor) as connection:
        if connection.family != socket.AF_UNIX and connection.getsockname()[1] in ports:
            return peer_of(str(connection.getpeername()[0]))  # a listener has no peer
    return ""


def _shut(descriptor: int, inode: int) -> bool:
    with suppress(OSError), _opened(descriptor) as connection:
        if os.fstat(connection.fileno()).st_ino == inode:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False
