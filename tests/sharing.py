"""Distribute the tests among pytest-xdist's workers. This pytest plugin acts with `-n`, as in `make test`.

A file stays in one worker, in its own order, and so do the tests that use one site. A site is started once, and never
beside itself. Long tests come early, so that no worker is left with one at the end. But two sites at once, each of half
a dozen processes, are enough for two cores: the third worker begins with tests without a site.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

TURNS = (
    "tests/journeys",
    "tests/faults on rabbitmq",
    "tests/reservations",
    "tests/realtime",
    "tests/crawl",
    "tests/faults on embedded",
    "tests/config/test_schemathesis.py",
    "tests/documents/test_blocks.py",
    "tests/faults/test_orders.py",
    "tests/race/test_session_model.py",
)
ON_A_SITE = re.compile(r"tests/faults/.*\[(?P<site>embedded|rabbitmq)\b")


class BySite(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """Return the name of the group of tests that stay together."""
    if nodeid.startswith("tests/journeys/"):
        return "tests/journeys"
    if found := ON_A_SITE.match(nodeid):
        return f"tests/faults on {found['site']}"
    return nodeid.partition("::")[0]


def turn_of(nodeid: str) -> int:
    share = share_of(nodeid)
    turns = (turn for turn, name in enumerate(TURNS) if share == name or share.startswith(f"{name}/"))
    return next(turns, len(TURNS))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: turn_of(item.nodeid))


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # xdist sorts by the number of tests; ours by their duration


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> BySite:
    return BySite(config, log)
