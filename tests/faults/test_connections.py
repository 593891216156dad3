"""Check that idle or slow clients take nothing from others: at `web`, at `both`, and through the proxy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.caddy import Caddy
from tests.crowds import Crowd, left_open, p95
from tests.nginx import Nginx
from tests.processes import Process, Processes, fresh_database, until

pytestmark = pytest.mark.fault

NOISE = 0.01  # seconds that other work on this machine may add
HELD_UP = 0.5  # seconds; beside other tests, shorter delays cannot be told from a busy machine
CUT_OFF = 20.0  # seconds: ten are the limit, and a busy machine needs some itself
CUT_OFF_BY_PROXY = 45.0  # seconds; it gives thirty to a body


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start processes without a limit per address, because the whole crowd has one."""
    with Processes(folder=tmp_path_factory.mktemp("connections"), RATE_LIMITS="off") as started:
        yield started


@pytest.fixture(scope="module")
def web(processes: Processes) -> Process:
    return up(processes, processes.web())


@pytest.fixture(scope="module")
def both(processes: Processes) -> Process:
    return up(processes, processes.both())


@pytest.fixture(scope="module")
def caddy(web: Process, both: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caddy]:
    with Caddy(tmp_path_factory.mktemp("caddy"), web=web.port or 0, live=both.port or 0) as started:
        yield started


def up(processes: Processes, process: Process) -> Process:
    processes.wait_until_up(process)
    return process


@pytest.fixture(scope="module")
def nginx(web: Process, both: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx"), web=web.port or 0, live=both.port or 0, connections=4_000) as started:
        yield started


@pytest.fixture(params=["web", "both", "caddy", "nginx"])
def door(request: pytest.FixtureRequest) -> int:
    """Return the port of a server that buyers reach."""
    return int(request.getfixturevalue(request.param).port)


def test_idle_and_slow_clients_hold_up_no_other(door: int) -> None:
    before = p95(door)
    with Crowd(door) as crowd:
        crowd.idle(140)
        crowd.silent(20)
        crowd.slow_heads(100)
        crowd.slow_bodies(100)
        assert p95(door) <= 2 * before + HELD_UP


@pytest.mark.chaos
class TestThousands:
    def test_idle_connections_cost_others_nothing(self, door: int) -> None:
        before = p95(door)
        with Crowd(door) as crowd:
            opened = crowd.idle(2_000)
            assert left_open(opened) > 1_000
            assert p95(door) <= 2 * before + NOISE

    @pytest.mark.parametrize("kind", ["slow_heads", "slow_bodies"])
    def test_slow_clients_hold_up_no_other_and_are_cut_off(
        self, door: int, kind: str, caddy: Caddy, nginx: Nginx
    ) -> None:
        before = p95(door)
        with Crowd(door) as crowd:
            began = time.monotonic()
            opened = getattr(crowd, kind)(200)
            assert p95(door) <= 2 * before + NOISE
            until(lambda: not left_open(opened), seconds=60, what="their end")
            proxied = door in {caddy.port, nginx.port} and kind == "slow_bodies"
            assert time.monotonic() - began < (CUT_OFF_BY_PROXY if proxied else CUT_OFF)

    @pytest.mark.parametrize("kind", ["idle", "silent"])
    def test_idle_connections_are_closed(self, door: int, kind: str) -> None:
        with Crowd(door) as crowd:
            opened = getattr(crowd, kind)(200)
            until(lambda: not left_open(opened), seconds=90, what="their end")


ON_SALE = """
from tests.factories import SessionFactory
print(SessionFactory().pk)
"""


@pytest.mark.chaos
def test_two_thousand_sockets_at_once_hold_up_no_other(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sockets")
    with fresh_database() as database, Processes(folder=folder, RATE_LIMITS="off", DATABASE_URL=database) as processes:
        session = processes.manage("shell", "--verbosity", "0", "-c", ON_SALE).split()[-1]
        web, live = processes.web(), processes.live()
        for process in (web, live):
            processes.wait_until_up(process)
        before = p95(web.port or 0)
        with Crowd(live.port or 0) as crowd:
            joining = threading.Thread(target=crowd.sockets, args=(2_000, f"/ws/sessions/{session}"))
            joining.start()
            assert p95(web.port or 0) <= 2 * before + NOISE
            joining.join()
            until(lambda: crowd.greeted() == 2_000, seconds=60, what="a greeting for each")
            assert p95(web.port or 0) <= 2 * before + NOISE
