"""Show and retry messages of jobs that were given up: payments, housekeeping, mail, and events for mail.

A worker refused them, or died with them too often, or mail failed for good. They lie unchanged in a queue behind their
own. Most only wake a worker, and the sweeps have done their work already; but a person should know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kombu
from django.conf import settings
from kombu import Message

from reservations.queueing import letters, queues
from reservations.queueing.letters import CAME_FROM, REASON, SINCE, TRIES, Box, DeadLetter

Death = Mapping[str, Any]  # as RabbitMQ writes it in the header `x-death`
OF_THE_BROKER = (
    "x-death",
    "x-first-death",
    "x-last-death",
    "x-delivery-count",
    "frontrow-",
)  # headers that describe the death
PROPERTIES = ("correlation_id", "message_id", "reply_to", "type")


def take(channel: Any, job: str, *, limit: int) -> tuple[list[DeadLetter], int]:
    """Take the letters of a queue of jobs; return them, and count those that are left. Raises: OutOfReach."""
    box = Box(channel, queues.dead_jobs(job))
    return [_letter(message, job) for message in box.take(limit)], len(box)


def count(channel: Any) -> dict[str, int]:
    """Count the letters of each queue of jobs. Raises: OutOfReach."""
    return {job: len(Box(channel, queues.dead_jobs(job))) for job in queues.JOBS}


def retry(letter: DeadLetter) -> None:
    """Put the message back into the queue that it came from, as new. Raises: OutOfReach."""
    message = letter.message
    assert message is not None
    headers = {name: value for name, value in message.headers.items() if not name.startswith(OF_THE_BROKER)}
    if "retries" in headers:
        headers |= {"retries": 0, "eta": None, "expires": None}
    with letters.reaching():
        queues.jobs_queue(letter.queue)(message.channel).declare()
        kombu.Producer(message.channel, auto_declare=False).publish(
            message.body,
            exchange="",  # straight into the queue of this name
            routing_key=_came_from(message, letter.queue),
            content_type=message.content_type,
            content_encoding=message.content_encoding or "utf-8",
            headers=headers,
            delivery_mode=2,
            mandatory=True,
            **{name: message.properties[name] for name in PROPERTIES if message.properties.get(name)},
        )
    letter.take_out()


def _letter(message: Message, job: str) -> DeadLetter:
    said, death = letters.content(message), _death(message)
    return DeadLetter(
        name=_name(message, said),
        queue=job,
        said={"task": message.headers["task"], "arguments": said} if "task" in message.headers else said,
        reason=str(message.headers.get(REASON) or _why(death)),
        tries=message.headers.get(TRIES) or message.headers.get("retries") or 0,
        since=str(message.headers.get(SINCE) or death.get("time", "")),
        message=message,
    )


def _name(message: Message, said: Any) -> str:
    """Return the id of a task or an event."""
    event = said.get("id") if isinstance(said, dict) else None
    properties = message.properties
    found = message.headers.get("id") or event or properties.get("message_id") or properties.get("correlation_id")
    return str(found or message.delivery_tag)


def _death(message: Message) -> Death:
    """Return RabbitMQ's record of the last death in a queue of ours: Celery's retries die in queues of its own."""
    deaths: list[Death] = message.headers.get("x-death") or []
    return next((death for death in deaths if _is_ours(death.get("queue"))), {})


def _why(death: Death) -> str:
    return f"RabbitMQ gave up delivering it: {death.get('reason', 'unknown')}"


def _came_from(message: Message, job: str) -> str:
    named = message.headers.get(CAME_FROM) or _death(message).get("queue")
    return str(named) if _is_ours(named) else str(queues.jobs_queue(job).name)


def _is_ours(queue: Any) -> bool:
    return isinstance(queue, str) and queue.startswith(f"{settings.KEY_PREFIX}.")
