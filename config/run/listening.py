"""Share what the listening commands have in common."""

import os
from argparse import ArgumentParser
from typing import Any

import uvicorn
from django.conf import settings

from config.run.serving import clock
from config.run.serving.descriptors import most_connections
from config.run.serving.guard import HEAD_SECONDS, GuardedProtocol
from reservations import exposition

PING_SECONDS = 20
BACKLOG = 4096  # connections that the kernel keeps until the process accepts them


def add_address(parser: ArgumentParser) -> None:
    parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="0.0.0.0 for every interface")
    parser.add_argument("--port", type=int, default=settings.PORT)


def serve_asgi(application: str, *, host: str, port: int) -> None:
    """Serve until SIGTERM."""
    if settings.METRICS_PORT:
        exposition.serve(settings.METRICS_PORT)
    most_connections()
    clock.follow()
    uvicorn.Server(as_served(application, host=host, port=port)).run()


def as_served(application: Any, *, host: str, port: int) -> uvicorn.Config:
    """Return uvicorn's configuration for an application.

    At a stop, open sockets are closed with 1012, so that clients reconnect by themselves. A client that answers no ping
    is gone: its socket is closed within twice `PING_SECONDS`. The application decides which peers may send
    X-Forwarded-For (TRUSTED_PROXIES), not the server.
    """
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        http=GuardedProtocol,
        timeout_keep_alive=int(HEAD_SECONDS),
        backlog=BACKLOG,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,  # the application writes it by the database's clock
        ws_per_message_deflate=False,  # compressing the same diff once per socket costs more than sending it
        ws_max_size=4096,  # clients send almost nothing
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        timeout_graceful_shutdown=3,
    )
