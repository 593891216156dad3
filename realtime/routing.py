"""Route the sockets' paths."""

from channels.routing import URLRouter
from django.urls import path, re_path

from realtime.consumers import Authenticate, BuyerFeed, Nothing, SessionFeed, Unfinished
from realtime.feed import CurrentVersion


def sockets(*, current_version: CurrentVersion, authenticate: Authenticate, unfinished: Unfinished) -> URLRouter:
    """Return the router; the arguments are what the consumers need of the database and of people."""
    session_feed = SessionFeed.as_asgi(current_version=current_version)
    buyer_feed = BuyerFeed.as_asgi(authenticate=authenticate, unfinished=unfinished)
    return URLRouter(
        [
            path("ws/sessions/<uuid:session>", session_feed),
            path("ws/sessions/<uuid:session>/", session_feed),
            path("ws/me", buyer_feed),
            path("ws/me/", buyer_feed),
            re_path("", Nothing.as_asgi()),
        ]
    )
