import socket
from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings


@pytest.fixture
def silent_redis() -> Iterator[str]:
    """Serve a Redis that takes connections and says nothing, as a stopped process does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def no_redis() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{server.getsockname()[1]}"


def use(url: str, settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [url]}}
    }
