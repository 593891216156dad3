"""Generate load: `python -m bench.generator PLAN ANSWERS`, a process of its own that knows only HTTP/1.1.

Requests are made beforehand. This process only sends them over connections that stay open, each connection one request
at a time, and notes the answers. It uses one thread and `epoll`: about 10 µs per request, so that it takes little of
the machine that it measures. Requests are read from a file and answers are written to one as they go, so that a million
of them need no more memory than a hundred.

PLAN has a line with the ports and the rate, then one request per line. ANSWERS has one answer per line, then a line
about the whole. Both are JSON.
"""

from __future__ import annotations

import dataclasses
import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

LATE = 0.002  # seconds; `epoll` counts in milliseconds
SILENCE = 30.0  # seconds without any answer until the generator gives up
NO_ANSWER = 0  # the status of a request whose connection broke or that the generator gave up


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Describe a load.

    `ports` has one entry per connection. `rate` is in requests a second; without it, the next follows each answer.
    `forgets`: drop the bodies of answers, since pages are large and packed.
    """

    ports: list[int]
    requests: Iterable[str]
    rate: float | None = None
    forgets: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """Hold an answer.

    Times are seconds since the first request. `began` is when it was sent, or due if no connection was free.
    """

    index: int
    began: float
    ended: float
    status: int
    body: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Report a load.

    `started` is the first request by the machine's shared clock (`time.monotonic`). `memory` is the maximum in
    megabytes.
    """

    started: float
    cpu: float
    memory: float
    answers: list[Answer]


class Connection:
    """Hold one open connection and the answer that it waits for."""

    def __init__(self, port: int, *, forgets: bool = False) -> None:
        self.forgets = forgets
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.index = -1
        self.began = 0.0
        self._received = b""
        self._length = -1  # length of the whole answer, once its head is here

    def ask(self, index: int, request: bytes, *, began: float) -> None:
        self.index, self.began, self._received, self._length = index, began, b"", -1
        self.socket.sendall(request)

    def hear(self) -> tuple[int, str] | None:
        """Return status and body once they are complete. Raises: OSError when the other side hung up."""
        some = self.socket.recv(65_536)
        if not some:
            raise ConnectionResetError
        self._received = received = self._received + some if self._received else some
        if self._length < 0:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._length = end + 4 + content_length(received[:end])
        if len(received) < self._length:
            return None
        body = received[received.index(b"\r\n\r\n") + 4 :]
        return int(received[9:12]), "" if self.forgets else body.decode()


def most_memory() -> float:
    """Return the maximum of this process's memory in megabytes.

    `getrusage` would include its parent's from before the exec.
    """
    said = Path("/proc/self/status").read_text()
    return int(said.split("VmHWM:")[1].split()[0]) / 1024


def content_length(head: bytes) -> int:
    """Return the content length; 304 has no body (RFC 9110, 15.4.5).

    Raises: ValueError for another answer without one; our servers always send it.
    """
    if head[9:12] == b"304":
        return 0
    lines = head.lower()
    start = lines.index(b"content-length:") + len(b"content-length:")
    return int(lines[start:].split(b"\r\n", 1)[0])


class Generator:
    """Send requests and collect answers. `note` is called with each answer; without it they are in the report."""

    def __init__(self, plan: Plan, *, note: Callable[[Answer], object] | None = None) -> None:
        self._requests = iter(plan.requests)
        self._waiting = next(self._requests, None)  # the next request to send
        self._rate = plan.rate
        self._poll = select.epoll()
        self._idle = deque(Connection(port, forgets=plan.forgets) for port in plan.ports)
        self._busy: dict[int, Connection] = {}
        self._next = 0
        self._answers: list[Answer] = []
        self._tell = note or self._answers.append
        self._started = 0.0
        for connection in self._idle:
            self._poll.register(connection.socket, select.EPOLLIN)

    def run(self) -> Report:
        processor = time.process_time()
        self._started = time.monotonic()
        heard = self._started
        while self._waiting is not None or self._busy:
            self._send_what_is_due()
            for descriptor, _events in self._poll.poll(self._patience()):
                heard = time.monotonic()
                if (connection := self._busy.get(descriptor)) is not None:
                    self._hear(connection)
            if (not self._busy and not self._idle) or time.monotonic() - heard > SILENCE:
                self._give_up()
        for connection in [*self._idle, *self._busy.values()]:
            connection.socket.close()
        return Report(
            started=self._started,
            cpu=time.process_time() - processor,
            memory=most_memory(),
            answers=sorted(self._answers, key=lambda answer: answer.index),
        )

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _due(self) -> float:
        """Return when the next request should be sent."""
        return self._next / self._rate if self._rate else 0.0

    def _patience(self) -> float:
        if self._waiting is None or not self._idle:
            return 0.5
        return max(0.0, min(0.5, self._due() - self._now()))

    def _send_what_is_due(self) -> None:
        while self._idle and self._waiting is not None:
            now, due = self._now(), self._due()
            if due > now:
                return
            connection = self._idle.popleft()
            # Waiting for a free connection is the server's delay, waking up late is ours.
            began = due if self._rate and now - due > LATE else now
            self._busy[connection.socket.fileno()] = connection
            index, request = self._take()
            try:
                connection.ask(index, request.encode(), began=began)
            except OSError as error:
                self._lose(connection, error)

    def _take(self) -> tuple[int, str]:
        assert self._waiting is not None
        index, request = self._next, self._waiting
        self._next, self._waiting = self._next + 1, next(self._requests, None)
        return index, request

    def _hear(self, connection: Connection) -> None:
        try:
            heard = connection.hear()
        except (OSError, ValueError) as error:
            self._lose(connection, error)
            return
        if heard is not None:
            self._note(connection, *heard)
            self._idle.append(self._busy.pop(connection.socket.fileno()))

    def _note(self, connection: Connection, status: int, body: str) -> None:
        self._tell(Answer(connection.index, connection.began, self._now(), status, body))

    def _lose(self, connection: Connection, error: Exception) -> None:
        """Record no answer for the connection's request; the others go on."""
        self._note(connection, NO_ANSWER, repr(error))
        del self._busy[connection.socket.fileno()]
        self._poll.unregister(connection.socket)
        connection.socket.close()

    def _give_up(self) -> None:
        for connection in list(self._busy.values()):
            self._lose(connection, TimeoutError("no answer"))
        while self._waiting is not None:
            index, _request = self._take()
            self._tell(Answer(index, self._now(), self._now(), NO_ANSWER, "never sent"))


def write_plan(file: Path, plan: Plan) -> None:
    with file.open("w") as written:
        written.write(json.dumps({"ports": plan.ports, "rate": plan.rate, "forgets": plan.forgets}) + "\n")
        written.writelines(json.dumps(request) + "\n" for request in plan.requests)


def read_report(file: Path) -> Report:
    with file.open() as written:
        lines = [json.loads(line) for line in written]
    *answers, whole = lines
    return Report(**whole, answers=sorted((Answer(*row) for row in answers), key=lambda answer: answer.index))


def main(plan: Path, answers: Path) -> None:
    with plan.open() as planned, answers.open("w") as written:
        described = json.loads(planned.readline())

        def note(answer: Answer) -> None:
            row = (answer.index, answer.began, answer.ended, answer.status, answer.body)
            written.write(json.dumps(row) + "\n")

        report = Generator(Plan(**described, requests=map(json.loads, planned)), note=note).run()
        whole = {"started": report.started, "cpu": report.cpu, "memory": report.memory}
        written.write(json.dumps(whole) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
