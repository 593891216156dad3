"""Check the seats as they go over the wire."""

from __future__ import annotations

import datetime as dt
import gzip
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from sessions_app import queries, snapshots
from sessions_app.models import Seat, Session
from tests.sessions_app.conftest import Open

NOW = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)


def path(session: Session) -> str:
    return f"/api/v1/sessions/{session.pk}/seats?format=compact"


class TestSnapshots:
    def test_are_read_once_for_requests_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked, ready, one = [], threading.Barrier(8), uuid.uuid4()

        def read(session: uuid.UUID, *, now: dt.datetime, compact: bool) -> snapshots.Snapshot:
            asked.append(session)
            return snapshots.Snapshot(version=7, plain=b"{}", packed=b"", until=now + dt.timedelta(seconds=9))

        def ask(_number: int) -> int:
            ready.wait()
            return snapshots.of(one, version=7, now=NOW, compact=True).version

        monkeypatch.setattr(snapshots, "read", read)
        with ThreadPoolExecutor(8) as crowd:
            assert set(crowd.map(ask, range(8))) == {7}
        assert asked == [one]

    def test_are_read_again_for_a_newer_version(self, client: Client, put_on: Open) -> None:
        session = put_on()
        before = client.get(path(session)).json()
        Seat.objects.filter(session=session, label="A2").update(status="b")
        Session.objects.filter(pk=session.pk).update(map_version=1)
        assert before == {"version": 0, "seats": "ffffff"}
        assert client.get(path(session)).json() == {"version": 1, "seats": "fbffff"}

    def test_ask_for_the_seats_no_second_time(self, client: Client, put_on: Open) -> None:
        session = put_on()
        client.get(path(session))
        with CaptureQueriesContext(connection) as asked:
            client.get(path(session))
        assert [query["sql"] for query in asked if "sessions_app_seat" in query["sql"]] == []

    @pytest.mark.parametrize("compact", [True, False])
    def test_are_good_until_a_hold_runs_out(self, put_on: Open, compact: bool) -> None:
        session = put_on()
        end = timezone.now() + dt.timedelta(seconds=5)
        held = {"status": "h", "reservation_id": uuid.uuid4(), "held_until": end}
        Seat.objects.filter(session=session, label="A1").update(**held)
        _version, now = queries.version_now(session.pk)
        found = snapshots.of(session.pk, version=0, now=now, compact=compact)
        assert found.until == end
        assert found.is_good(0, now)
        assert not found.is_good(0, end)

    def test_are_forgotten_when_unused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshots, "MOST_KEPT", 2)
        kept, keys = snapshots.Kept(), [(uuid.uuid4(), True) for _key in range(3)]
        for key in keys:
            kept.put(key, snapshots.Snapshot(version=1, plain=b"", packed=b"", until=NOW))
        assert [kept.get(key) is not None for key in keys] == [False, True, True]


class TestSentSeats:
    @pytest.mark.parametrize(
        ("accepted", "encoding"),
        [("gzip, deflate, br", "gzip"), ("br", None), ("", None), ("gzip;q=0", None), ("gzip;q=0.5", "gzip")],
    )
    def test_are_compressed_for_clients_that_accept_it(
        self, client: Client, put_on: Open, accepted: str, encoding: str | None
    ) -> None:
        answer = client.get(path(put_on()), headers={"accept-encoding": accepted})
        assert answer.headers.get("Content-Encoding") == encoding
        assert "Accept-Encoding" in answer.headers["Vary"]
        body = gzip.decompress(answer.content) if encoding else answer.content
        assert body == b'{"version":0,"seats":"ffffff"}'

    def test_take_4_kb_for_ten_thousand_seats_of_any_status(self, client: Client, put_on: Open) -> None:
        session = put_on(rows=100, seats_per_row=100, price=2500)
        dice = random.Random(1)  # noqa: S311 no secrets
        for letter in "sb":
            chosen = [f"{seat}" for seat in dice.sample(list(labels(session)), 3_000)]
            some = {"status": letter} | (
                {"reservation_id": uuid.uuid4()} if letter == "s" else {"reservation_id": None}
            )
            Seat.objects.filter(session=session, label__in=chosen).update(**some)
        answer = client.get(path(session), headers={"accept-encoding": "gzip"})
        assert set(queries.compact_map(session.pk)["seats"]) == {"f", "s", "b"}
        assert len(answer.content) <= 4_000


def labels(session: Session) -> list[str]:
    return list(Seat.objects.of(session.pk).values_list("label", flat=True))
