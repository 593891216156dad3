"""Serve the usual live map: `uvicorn bench.usual.live:application`.

Each socket joins the session's group, and each change is sent to each socket by itself.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.usual.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from channels.db import database_sync_to_async  # noqa: E402 what follows needs Django's apps
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from realtime.wire import session_group  # noqa: E402
from sessions_app.models import Session  # noqa: E402


class SeatConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        session = self.scope["url_route"]["kwargs"]["session"]
        self.group = session_group(session)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        version = await database_sync_to_async(Session.objects.values_list("map_version", flat=True).get)(pk=session)
        await self.send_json({"type": "hello", "session": str(session), "version": version})

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def wire_message(self, event: dict[str, Any]) -> None:
        await self.send_json(event["body"])


application = ProtocolTypeRouter(
    {"http": pages, "websocket": URLRouter([path("ws/sessions/<uuid:session>", SeatConsumer.as_asgi())])}
)
