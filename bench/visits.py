"""Simulate whole visits: `python -m bench.visits PLAN REPORT`, a process that knows nothing but HTTP and JSON.

A visitor does what a browser does: it loads the page, asks whether its files changed, fetches the seats, opens the live
feed, becomes a guest at its first request, holds seats with cookie and CSRF token, reads the price, pays, and opens its
tickets. Some visitors leave, reload, hesitate, or lose their seats and choose again. One event loop serves all of them;
its share of the processor is in the report, so that it can be told from the site's.

PLAN: JSON with `ports`, `live` (a port, or 0 for visits without sockets), `session`, `visitors`, `rate` (arrivals a
second; 0: all at once) and `at_once`. REPORT: JSON with the seconds of each step and the ends of the visits.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
import random
import re
import sys
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

LEAVE, RELOAD, HESITATE = 0.1, 0.1, 0.2  # parts of the visitors who do so after they have seen the page
HESITATION = 0.5  # seconds
ASKS = 20  # times that a visitor asks what became of a request, a second apart
CHOICES = 3  # times that a visitor chooses other seats after losing some
CROWD_SEED = 20_260_101
FILES = re.compile(r'(?:href|src)="(/static/[^"]+\.(?:css|js|svg))"')
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
COOKIE = re.compile(rb"^set-cookie: ([^=]+)=([^;\r]*)", re.IGNORECASE | re.MULTILINE)
LENGTH = re.compile(rb"^content-length: (\d+)", re.IGNORECASE | re.MULTILINE)
TAG = re.compile(rb"^etag: ([^\r]+)", re.IGNORECASE | re.MULTILINE)
HANDSHAKE = "AAAAAAAAAAAAAAAAAAAAAA=="


@dataclasses.dataclass
class Plan:
    """Describe a crowd."""

    ports: list[int]
    live: int
    session: str
    visitors: int
    rate: float
    at_once: int


@dataclasses.dataclass
class Said:
    """Hold an answer. `body` is unpacked."""

    status: int
    head: bytes
    body: bytes


class Lost(Exception):
    """A visit that ended because the site gave a wrong answer, or none."""


class Visitor:
    """Simulate one browser with one connection that stays open."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.chance = random.Random(CROWD_SEED + number)
        self.port = crowd.plan.ports[number % len(crowd.plan.ports)]
        self.cookies: dict[str, str] = {}
        self.token = ""
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.sockets: list[asyncio.StreamWriter] = []

    async def visit(self) -> str:
        """Make the whole visit; return how it ended. Raises: Lost."""
        path = f"/sessions/{self.crowd.plan.session}"
        try:
            page = await self._page(path)
            if self.chance.random() < RELOAD:
                page = await self._page(path)
            if self.chance.random() < LEAVE:
                return "left"
            free = await self._seats(path)
            if self.chance.random() < HESITATE:
                await asyncio.sleep(HESITATION)
            await self._become_known(page)
            held = await self._hold(free)
            if held is None:
                return "without seats"
            return await self._pay(held)
        finally:
            for writer in (*self.sockets, *([self.streams[1]] if self.streams else [])):
                writer.close()

    async def _page(self, path: str) -> str:
        page = await self.ask("page", "GET", path)
        text = page.body.decode()
        for file in self.crowd.files_of(text):
            await self.ask("file", "GET", file, expects={200, 304}, etag=self.crowd.tags.get(file, ""))
        return text

    async def _seats(self, path: str) -> list[str]:
        seats = json.loads((await self.ask("seats", "GET", f"/api/v1{path}/seats?format=compact")).body)["seats"]
        await self._listen("/ws" + path)
        return [label for label, status in zip(self.crowd.labels, seats, strict=True) if status == "f"]

    async def _become_known(self, page: str) -> None:
        """Get cookies and a token: from the page itself, or from the site's address for that."""
        found = TOKEN.search(page)
        if found and "buyer" in self.cookies:
            self.token = found[1]
        else:
            self.token = json.loads((await self.ask("visitor", "GET", "/visitor")).body)["token"]
        await self._listen("/ws/me")

    async def _hold(self, free: list[str]) -> dict[str, Any] | None:
        for _choice in range(CHOICES):
            if not free:
                return None
            seat = self.chance.choice(free)
            wish = {"session": self.crowd.plan.session, "seats": [seat]}
            answer = await self._post("held", "/reservations", wish, wait=5, expects={201, 202, 409})
            if answer.status != 409:
                held: dict[str, Any] = json.loads(answer.body)
                held = await self._until(held, "queued")
                if held["status"] == "held":
                    return held
            free = await self._seats(f"/sessions/{self.crowd.plan.session}")
        return None

    async def _pay(self, held: dict[str, Any]) -> str:
        means = {"payment": {"method": "fake", "token": "ok"}}
        paid = await self._post("paid", f"/reservations/{held['id']}/pay", means, wait=10, expects={200, 202})
        sale = json.loads(paid.body).get("sale")
        if paid.status == 202:
            sale = (await self._until(held, "held", "paying"))["sale"]
        if sale is None:
            return "not paid in time"
        await self.ask("tickets", "GET", f"/sales/{sale['id']}")
        return "bought"

    async def _until(self, reservation: dict[str, Any], *states: str) -> dict[str, Any]:
        """Ask again, as a page without news does, until the reservation is in none of these states."""
        for _time in range(ASKS):
            answer = await self.ask("state", "GET", f"/api/v1/reservations/{reservation['id']}")
            reservation = json.loads(answer.body)
            if reservation["status"] not in states:
                break
            await asyncio.sleep(1)
        return reservation

    async def _post(self, step: str, path: str, body: dict[str, Any], *, wait: int, expects: set[int]) -> Said:
        headers = {
            "Content-Type": "application/json",
            "X-CSRFToken": self.token,
            "Idempotency-Key": uuid.uuid4().hex,
            "Prefer": f"wait={wait}",
        }
        return await self.ask(step, "POST", f"/api/v1{path}", json.dumps(body), expects=expects, headers=headers)

    async def ask(
        self,
        step: str,
        method: str,
        path: str,
        body: str = "",
        *,
        expects: set[int] | None = None,
        headers: dict[str, str] | None = None,
        etag: str = "",
    ) -> Said:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept-Encoding: gzip, br", "Accept-Language: en"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}"] * bool(
            self.cookies
        )
        lines += [f"If-None-Match: {etag}"] * bool(etag)
        lines += [f"Content-Length: {len(body)}"] * (method == "POST")
        began = time.monotonic()
        said = await self._exchange("\r\n".join([*lines, "", body]).encode())
        self.crowd.steps[step].append(time.monotonic() - began)
        if said.status not in (expects or {200}):
            raise Lost(f"{step} {said.status}")
        self.cookies |= {name.decode(): value.decode() for name, value in COOKIE.findall(said.head)}
        if (tag := TAG.search(said.head)) and step == "file":
            self.crowd.tags[path] = tag[1].decode()
        return said

    async def _exchange(self, request: bytes) -> Said:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        reader, writer = self.streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = int(head[9:12]), LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length and status != 304 else b""
        return Said(status, head, gzip.decompress(body) if b"content-encoding: gzip" in head.lower() else body)

    async def _listen(self, path: str) -> None:
        """Open a socket, and keep it open until the visit ends."""
        if not self.crowd.plan.live:
            return
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.crowd.plan.live)
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.crowd.plan.live}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {HANDSHAKE}"]
        lines += [f"Origin: http://127.0.0.1:{self.crowd.plan.live}"]
        lines += [f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}"] * bool(
            self.cookies
        )
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise Lost(f"socket {path}: {head[:60]!r}")
        self.crowd.steps["socket"].append(time.monotonic() - began)
        self.sockets.append(writer)


class Crowd:
    """Let all visitors of a plan come."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps: dict[str, list[float]] = defaultdict(list)
        self.ends: Counter[str] = Counter()
        self.tags: dict[str, str] = {}
        self.labels: list[str] = []
        self._files: dict[int, list[str]] = {}

    def files_of(self, page: str) -> list[str]:
        """Return the addresses of the files that a page names."""
        head = hash(page[:4_000])
        if head not in self._files:
            self._files[head] = sorted(set(FILES.findall(page)))
        return self._files[head]

    async def come(self) -> dict[str, Any]:
        """Run all visits; return the report."""
        await self._look_at_the_hall()
        places = asyncio.Semaphore(self.plan.at_once)
        began = time.monotonic()
        visits = []
        for number in range(self.plan.visitors):
            if self.plan.rate:
                await asyncio.sleep(max(0.0, began + number / self.plan.rate - time.monotonic()))
            visits.append(asyncio.create_task(self._one(number, places)))
        await asyncio.gather(*visits)
        return {
            "seconds": time.monotonic() - began,
            "cpu": time.process_time(),
            "steps": {name: sorted(times) for name, times in self.steps.items()},
            "ends": dict(self.ends),
        }

    async def _look_at_the_hall(self) -> None:
        """Learn the seats' labels, as a page knows them from its drawing."""
        first = Visitor(self, 0)
        answer = await first.ask("", "GET", f"/api/v1/sessions/{self.plan.session}/seats")
        self.labels = [seat["label"] for seat in json.loads(answer.body)["seats"]]
        self.steps.clear()
        if first.streams:
            first.streams[1].close()

    async def _one(self, number: int, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                self.ends[await Visitor(self, number).visit()] += 1
            except (Lost, OSError, asyncio.IncompleteReadError) as error:
                self.ends[f"failed: {error}"] += 1


def main(plan: Path, report: Path) -> None:
    report.write_text(json.dumps(asyncio.run(Crowd(Plan(**json.loads(plan.read_text()))).come())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
