import asyncio

import pytest

from realtime import outbox
from realtime.outbox import Message, Outbox, text

pytestmark = pytest.mark.asyncio


class Reader:
    """The far end of a socket, which may stop reading."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = False

    async def write(self, message: Message) -> None:
        await self.reads.wait()
        if self.gone:
            raise BrokenPipeError
        self.got.append(str(message["text"]))


async def allocate() -> None:
    """Let every task run until it waits."""
    for _turn in range(outbox.LONGEST * 3):
        await asyncio.sleep(0)


async def test_outbox_writes_in_order() -> None:
    ana = Reader()
    box = Outbox(ana.write)

    for number in range(5):
        assert box.offer(text(str(number)))
    await allocate()

    assert ana.got == ["0", "1", "2", "3", "4"]
    box.close()


async def test_slow_reader_delays_no_other_and_is_told_so() -> None:
    ana, bruno = Reader(), Reader()
    ana.reads.clear()
    slow, quick = Outbox(ana.write), Outbox(bruno.write)

    taken = 0
    for number in range(outbox.LONGEST * 2):
        taken += slow.offer(text(str(number)))
        quick.offer(text(str(number)))
        await asyncio.sleep(0)
    await allocate()

    assert bruno.got == [str(number) for number in range(outbox.LONGEST * 2)]
    assert taken <= outbox.LONGEST + 1
    slow.close()
    quick.close()


async def test_outbox_that_skipped_goes_on_with_new_messages() -> None:
    ana = Reader()
    ana.reads.clear()
    box = Outbox(ana.write)
    box.offer(text("old"))
    await allocate()
    while box.offer(text("older than new")):
        pass

    box.skip()
    box.offer(text("new"))
    ana.reads.set()
    await allocate()

    assert ana.got == ["old", "new"]  # the first was being written already
    box.close()


async def test_dead_reader_takes_each_message() -> None:
    ana = Reader()
    ana.gone = True
    box = Outbox(ana.write)

    for _number in range(outbox.LONGEST * 2):
        assert box.offer(text("anything"))
        await allocate()

    assert ana.got == []
    box.close()
