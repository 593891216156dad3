"""Check that ids sort by time."""

from __future__ import annotations

import os
import time
from uuid import RFC_4122, UUID

import pytest

from base.ids import uuid7

MANY = 20_000


def milliseconds(identity: UUID) -> int:
    return identity.int >> 80


class TestUuid7:
    def test_uuid7_is_what_the_rfc_says(self) -> None:
        before = time.time_ns() // 1_000_000
        identity = uuid7()
        assert (identity.version, identity.variant) == (7, RFC_4122)
        assert before <= milliseconds(identity) <= time.time_ns() // 1_000_000

    def test_uuid7_never_runs_ahead_of_the_clock_however_many_are_made(self) -> None:
        made = [uuid7() for _each in range(MANY)]
        assert milliseconds(made[-1]) <= time.time_ns() // 1_000_000
        assert len(set(made)) == MANY

    def test_uuid7_rises_from_one_to_the_next_also_where_the_clock_is_set_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [uuid7() for _each in range(MANY)]
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        ids += [uuid7() for _each in range(MANY)]
        assert ids == sorted(ids)

    def test_uuid7_sorts_by_time_within_a_millisecond_too(self) -> None:
        ids = []
        for _each in range(50):
            ids.append(uuid7())
            until = time.perf_counter_ns() + 1_000
            while time.perf_counter_ns() < until:
                pass
        assert ids == sorted(ids)

    def test_uuid7_is_drawn_by_a_forked_child_from_its_own_chances(self) -> None:
        uuid7()
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            os.write(theirs, b"".join(uuid7().bytes[8:] for _each in range(50)))
            os._exit(0)
        os.waitpid(child, 0)
        told = os.read(ours, 50 * 8)
        os.close(ours)
        os.close(theirs)
        drawn_there = {told[at : at + 8] for at in range(0, len(told), 8)}
        drawn_here = {uuid7().bytes[8:] for _each in range(50)}
        assert len(drawn_there) == 50
        assert not drawn_there & drawn_here
