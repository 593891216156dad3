"""Say what every connection to the broker has in common, so that publishers, workers and checks see the same queues."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def is_rabbitmq(url: str) -> bool:
    return url.startswith("amqp")


def transport_options(url: str, *, read: float, write: float, confirm: bool) -> dict[str, Any]:
    """Return kombu's options.

    For RabbitMQ these are the deadlines in seconds and whether it confirms each message; for Redis, the keys' prefix.
    """
    if is_rabbitmq(url):
        return {"confirm_publish": confirm, "read_timeout": read, "write_timeout": write}
    return {"global_keyprefix": f"{settings.KEY_PREFIX}:celery:"}
