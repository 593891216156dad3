"""Every connection to the broker has the same options."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings, settings

from config.celery import app
from realtime import broker, relay

RABBITMQ, REDIS = "amqp://broker.example:5672//", "redis://broker.example:6379/2"


@pytest.mark.parametrize("confirm", [True, False])
def test_rabbitmq_has_deadlines_and_confirms_where_it_must(confirm: bool) -> None:
    options = broker.transport_options(RABBITMQ, read=3, write=2, confirm=confirm)
    assert options == {"confirm_publish": confirm, "read_timeout": 3, "write_timeout": 2}


def test_redis_keeps_the_queues_under_the_installation_s_prefix(settings: LazySettings) -> None:
    settings.KEY_PREFIX = "house"
    assert broker.transport_options(REDIS, read=3, write=2, confirm=True) == {"global_keyprefix": "house:celery:"}


@pytest.mark.parametrize("url", [RABBITMQ, REDIS])
def test_publishers_try_once_and_see_the_queues_of_the_workers(url: str) -> None:
    options: dict[str, Any] = relay.connect(url, deadline=3, confirm=True).transport_options
    assert options.items() >= broker.transport_options(url, read=3, write=3, confirm=True).items()
    assert options["max_retries"] == 0


def test_workers_have_the_common_options() -> None:
    common = broker.transport_options(settings.CELERY_BROKER_URL, read=30, write=2, confirm=True)
    assert app.conf.broker_transport_options.items() >= common.items()
