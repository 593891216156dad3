"""Define the ASGI application: Channels serves sockets, Django serves everything else in threads.

`realtime` does not know people or the database, so this module gives the sockets functions for both.
"""

import os

import django
from channels.routing import ProtocolTypeRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from uuid import UUID  # noqa: E402 what follows needs Django's apps

from django.http import parse_cookie  # noqa: E402

from config.run.serving.site import Site  # noqa: E402
from config.web.crowding import SocketLimit  # noqa: E402
from config.wsgi import application as pages  # noqa: E402
from realtime import consumers, origins, routing  # noqa: E402
from reservations.queries import first_messages  # noqa: E402
from sessions_app.queries import current_version  # noqa: E402
from ticketing import identity  # noqa: E402


def authenticate(scope: origins.Scope) -> UUID | None:
    """Return the buyer of a program's token or of a browser's cookie; None refuses the socket.

    A browser sends its cookies for every page, so a cookie counts only if the page's origin is ours.
    """
    offered = scope["subprotocols"]
    if offered:
        return _by_token(scope, offered)
    return _by_cookie(scope) if origins.is_ours(scope) else None


def _by_token(scope: origins.Scope, offered: list[str]) -> UUID | None:
    if len(offered) != len(("bearer", "token")) or offered[0] != consumers.BEARER:
        return None
    if not (origins.has_none(scope) or origins.is_ours(scope)):
        return None
    try:
        return identity.buyer_of_token(offered[1])
    except identity.InvalidToken:
        return None


def _by_cookie(scope: origins.Scope) -> UUID | None:
    cookies = parse_cookie(origins.header(scope, b"cookie") or "")
    return identity.buyer_of_cookie(cookies.get(identity.COOKIE))


application = ProtocolTypeRouter(
    {
        "http": Site(pages),
        "websocket": SocketLimit(
            routing.sockets(current_version=current_version, authenticate=authenticate, unfinished=first_messages)
        ),
    }
)
