from __future__ import annotations

import asyncio
from typing import Any

import pytest

from realtime import switchboard
from realtime.switchboard import Switchboard, WireDown

TRIP = 0.03  # seconds; the machine may be busy for some of them


class OneAtATime:
    """The channel layer before a Redis that is busy: each subscription waits for the one before it."""

    def __init__(self) -> None:
        self._busy = asyncio.Lock()
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def new_channel(self) -> str:
        return "ours"

    async def group_add(self, group: str, channel: str) -> None:
        async with self._busy:
            await asyncio.sleep(TRIP)

    async def group_discard(self, group: str, channel: str) -> None:
        """Do nothing."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._sent.put(message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._sent.get()


class FirstIsLost(OneAtATime):
    """A channel layer where the first message to each group overtakes the subscription."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group in self._seen:
            await super().group_send(group, message)
        self._seen.add(group)


async def crowd(board: Switchboard, number: int) -> list[BaseException | None]:
    return await asyncio.gather(
        *(board.join(f"{n}", lambda _body: None) for n in range(number)), return_exceptions=True
    )


@pytest.mark.asyncio
class TestACrowd:
    @pytest.fixture(autouse=True)
    def _busy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(switchboard, "get_channel_layer", OneAtATime)
        monkeypatch.setattr(switchboard, "ANSWER_TIMEOUT", 20 * TRIP)

    async def test_joins_in_turns_and_no_listener_is_sent_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(switchboard, "JOINING_AT_ONCE", 5)
        assert await crowd(Switchboard(), 60) == [None] * 60

    async def test_would_lose_most_listeners_without_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(switchboard, "JOINING_AT_ONCE", 60)
        assert any(isinstance(outcome, WireDown) for outcome in await crowd(Switchboard(), 60))

    async def test_waits_for_its_turn_for_a_limited_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(switchboard, "JOINING_AT_ONCE", 5)
        monkeypatch.setattr(switchboard, "PATIENCE", 10 * TRIP)
        assert any(isinstance(outcome, WireDown) for outcome in await crowd(Switchboard(), 60))


@pytest.mark.asyncio
async def test_probe_that_overtakes_its_subscription_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchboard, "get_channel_layer", FirstIsLost)
    board = Switchboard()
    await board.join("group", lambda _body: None)
    await board.leave("group", lambda _body: None)
