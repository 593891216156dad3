"""The whole site on one port: sockets by Channels, everything else by Django's WSGI application in threads."""

from typing import Any

from a2wsgi import WSGIMiddleware
from django.conf import settings

from config.asgi import application as sockets
from config.wsgi import application as pages

wsgi: Any = pages  # a2wsgi and Django spell the same protocol in different types
site: Any = WSGIMiddleware(wsgi, workers=settings.WEB_THREADS)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Every thread of the site may wait for an outcome at once, so there are as many as the site was told to have."""
    await (site if scope["type"] == "http" else sockets)(scope, receive, send)
