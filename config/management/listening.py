"""What the listening commands have in common."""

import os
from argparse import ArgumentParser

import uvicorn
from django.conf import settings
from prometheus_client import start_http_server


def add_address(parser: ArgumentParser) -> None:
    parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="0.0.0.0 for every interface")
    parser.add_argument("--port", type=int, default=settings.PORT)


def serve_asgi(application: str, *, host: str, port: int) -> None:
    """Serve until SIGTERM; open sockets are closed with 1012, so that clients come back by themselves.

    Who may say X-Forwarded-For is the application's business (TRUSTED_PROXIES), not the server's.
    """
    if settings.METRICS_PORT:
        start_http_server(settings.METRICS_PORT)
    uvicorn.run(
        application,
        host=host,
        port=port,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_per_message_deflate=False,  # compressing the same diff once a socket costs more than sending it
        ws_max_size=4096,  # clients have nothing to say
        timeout_graceful_shutdown=3,
    )
