"""Check PostgreSQL and Valkey from wheels: killed, restarted, twice at once, in folders closed to other users."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.run.embedded import Postgres, Valkey
from config.run.preflight import StartupProblem
from config.run.supervisor import Child
from tests.processes import until

Run = Callable[[Postgres | Valkey], Child]


@pytest.fixture
def run() -> Iterator[Run]:
    started: list[Child] = []

    def run(service: Postgres | Valkey) -> Child:
        service.folder.mkdir(parents=True, exist_ok=True)
        child = Child(service.program())
        child.start()
        started.append(child)
        until(service.ready, seconds=30, what=child.name)
        return child

    yield run
    for child in started:
        child.ask_to_stop()
        child.gone_by(float("inf"))


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Make a folder that only its owner may enter, as /root is."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


def postgres(folder: Path, name: str = "postgres", *, durable: bool = False) -> Postgres:
    return Postgres(folder / name, folder / f"{name}.log", durable=durable)


def kill(child: Child) -> None:
    assert child.process is not None
    child.process.kill()
    child.process.wait()


class TestPostgres:
    def test_postgres_keeps_what_was_committed_when_killed(self, run: Run, closed: Path) -> None:
        first = postgres(closed, durable=True)
        child = run(first)
        with psycopg.connect(first.url("postgres")) as connection:
            connection.execute("CREATE TABLE seat AS SELECT 'A1' AS label")
        kill(child)
        again = postgres(closed, durable=True)
        until(lambda: not first.ready(), what="its end")
        run(again)
        with psycopg.connect(again.url("postgres")) as connection:
            assert connection.execute("SELECT label FROM seat").fetchall() == [("A1",)]

    def test_postgres_requires_the_password(self, run: Run, closed: Path) -> None:
        server = postgres(closed)
        run(server)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url("postgres").replace("frontrow:", "frontrow:not-"))

    def test_postgres_of_another_version_is_left_alone(self, run: Run, closed: Path) -> None:
        server = postgres(closed)
        server.program()
        (server.data / "PG_VERSION").write_text("15\n")
        with pytest.raises(StartupProblem, match="written by PostgreSQL 15"):
            postgres(closed).program()

    def test_half_made_data_is_made_anew(self, run: Run, closed: Path) -> None:
        half = closed / "postgres" / "data.new"
        half.mkdir(parents=True)
        (half / "PG_VERSION").write_text("18")
        run(postgres(closed))
        assert not half.exists()

    def test_postgres_without_room_says_what_to_do(self, closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("config.run.embedded.LOCALE", ["--builtin-locale=nowhere"])
        with pytest.raises(StartupProblem, match="cannot be made"):
            postgres(closed).program()
        assert not (closed / "postgres" / "data").exists()


class TestValkey:
    def test_valkey_keeps_its_data_when_stopped(self, run: Run, closed: Path) -> None:
        first = Valkey(closed / "valkey", closed / "valkey.log")
        child = run(first)
        with redis.Redis.from_url(first.url) as client:
            client.set("seat", "A1")
        child.ask_to_stop()
        child.gone_by(float("inf"))
        again = Valkey(closed / "valkey", closed / "valkey.log")
        run(again)
        with redis.Redis.from_url(again.url) as client:
            assert client.get("seat") == b"A1"

    def test_valkey_requires_the_password(self, run: Run, closed: Path) -> None:
        server = Valkey(closed / "valkey", closed / "valkey.log")
        run(server)
        with (
            redis.Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.AuthenticationError, match="authenticat"),
        ):
            client.ping()


def test_two_clones_run_at_once(run: Run, tmp_path: Path) -> None:
    one, two = postgres(tmp_path, "one"), postgres(tmp_path, "two")
    run(one)
    run(two)
    assert one.port != two.port
