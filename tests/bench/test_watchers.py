"""Check the crowd of sockets against a server of ten lines that sends the same to all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from bench.watchers import Crowd
from tests.processes import until

LABELS = ["A1", "A2", "A3"]


def diff(start: int, version: int, **changes: str) -> dict[str, Any]:
    return {"type": "seats", "from": start, "version": version, "changes": changes, "available": 3}


class Teller:
    """Greet with a version, and send the given messages to every socket."""

    def __init__(self) -> None:
        self.version = 0
        self.open: set[ServerConnection] = set()
        self._server: Server = serve(self._watch, "127.0.0.1", 0, compression=None)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _watch(self, connection: ServerConnection) -> None:
        connection.send(json.dumps({"type": "hello", "version": self.version}))
        self.open.add(connection)
        try:
            connection.recv()
        except ConnectionClosed:
            self.open.discard(connection)

    def tell(self, body: dict[str, Any]) -> None:
        self.version = body["version"]
        for connection in self.open:
            connection.send(json.dumps(body))

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def teller() -> Iterator[Teller]:
    running = Teller()
    yield running
    running.stop()


@pytest.fixture
def gather(teller: Teller) -> Iterator[Callable[[int], Crowd]]:
    crowds: list[Crowd] = []

    def gather(number: int) -> Crowd:
        crowds.append(Crowd(teller.port, "/"))
        assert crowds[-1].join(number)["greeted"] == number
        until(lambda: len(teller.open) == number)
        crowds[-1].forget()
        return crowds[-1]

    yield gather
    for crowd in crowds:
        crowd.close()


def greeted(crowd: Crowd) -> int:
    crowd.turn(0.02)
    return sum(watcher.greeted for watcher in crowd.watchers)


class TestCrowd:
    def test_counts_what_each_was_told(self, teller: Teller, gather: Callable[[int], Crowd]) -> None:
        crowd = gather(5)
        teller.tell(diff(0, 2, A1="h", A2="h"))
        teller.tell(diff(2, 3, A1="f"))
        found = crowd.listen(3, {"1": 0.0, "2": 0.0, "3": 0.0})
        assert {name: found[name] for name in ("delivered", "frames", "behind", "gaps", "closed")} == {
            "delivered": 15,
            "frames": 10,
            "behind": 0,
            "gaps": 0,
            "closed": 0,
        }

    def test_notices_a_gap(self, teller: Teller, gather: Callable[[int], Crowd]) -> None:
        crowd = gather(2)
        teller.tell(diff(1, 2, A1="h"))
        assert crowd.listen(2, {})["gaps"] == 2

    def test_says_who_is_behind(
        self, teller: Teller, gather: Callable[[int], Crowd], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bench.watchers.SILENCE", 0.2)
        crowd = gather(3)
        teller.tell(diff(0, 1, A1="h"))
        assert crowd.listen(2, {})["behind"] == 3

    def test_keeps_the_picture_of_a_hall(self, teller: Teller, gather: Callable[[int], Crowd]) -> None:
        crowd = gather(2)
        crowd.picture(LABELS, version=0, seats="fff")
        teller.tell(diff(0, 1, A2="h"))
        assert crowd.right(1, "fhf", seconds=10)["wrong"] == 0
        assert crowd.right(1, "fff", seconds=0)["wrong"] == 2

    def test_reads_long_messages_in_pieces(self, teller: Teller, gather: Callable[[int], Crowd]) -> None:
        crowd = gather(1)
        teller.tell(diff(0, 1, **{f"Z{number}": "h" for number in range(12_000)}))
        assert crowd.listen(1, {})["delivered"] == 1

    def test_comes_back_when_its_connections_break(self, teller: Teller, gather: Callable[[int], Crowd]) -> None:
        crowd = gather(4)
        crowd.picture(LABELS, version=0, seats="fff")
        crowd.drop()
        until(lambda: greeted(crowd) == 4)
        until(lambda: len(teller.open) == 4)
        teller.tell(diff(0, 1, A1="s"))
        assert crowd.right(1, "sff", seconds=10)["wrong"] == 0
