"""Check a pool whose threads are all busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from config.run.thread_pool import ThreadPool
from tests.processes import until


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(limit=2)
    yield pool
    pool.executor.shutdown()


def test_pool_with_a_free_thread_is_not_exhausted(pool: ThreadPool) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)

    pool.on_apply(work, (), {}, accept_callback=lambda *_facts: None)
    assert begun.wait(10)
    assert pool.seconds_exhausted() == 0
    go_on.set()


def test_pool_without_a_free_thread_counts_from_the_last_task_that_began_or_ended(pool: ThreadPool) -> None:
    go_on = [threading.Event(), threading.Event()]
    for event in go_on:
        pool.on_apply(event.wait, (10,), {}, accept_callback=lambda *_facts: None)
    until(lambda: pool.seconds_exhausted() > 0.2, seconds=10, what="both threads being at work")
    go_on[0].set()
    until(lambda: pool.seconds_exhausted() == 0, seconds=10, what="a free thread")
    go_on[1].set()


def test_task_that_fails_leaves_its_thread_free(pool: ThreadPool) -> None:
    done = threading.Event()

    def fail() -> None:
        done.set()
        raise ValueError

    for _task in range(3):
        pool.on_apply(fail, (), {}, accept_callback=lambda *_facts: None)
    assert done.wait(10)
    until(lambda: pool._busy == 0, seconds=10, what="both threads being free")  # noqa: SLF001
