"""Measure the seat map in a real browser: how soon a change shows, and how a slow phone copes with 10,000 seats."""

from __future__ import annotations

import datetime as dt
import gzip
import random
import shutil
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connection
from django.utils import timezone
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from bench.contest import Contest, Event
from bench.figures import Figure, Sample, percentile
from bench.live import change_seats
from bench.processes import Process
from bench.stage import Room, Stage
from realtime import wire
from sessions_app.models import Hall, Venue
from sessions_app.operations import create_session, furnish
from ticketing import demo

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
SLOWER = 4  # times slower than this machine
DIFFS, SEATS = 60, 50  # ten diffs a second, with this many seats each
Found = TypeVar("Found")

# A seat counts as painted when the frame after its change is on its way to the screen.
NOTE_PAINTS = """() => {
  window.painted = {};
  const now = () => performance.timeOrigin + performance.now();
  const grid = document.querySelector('svg.plan [role="grid"]');
  new MutationObserver((changes) => {
    const seats = changes.map(({ target }) => target.dataset.seat).filter((seat) => seat && !(seat in painted));
    requestAnimationFrame(() => setTimeout(() => seats.forEach((seat) => (painted[seat] ??= now()))));
  }).observe(grid, { subtree: true, attributes: true, attributeFilter: ["data-look"] });
}"""
NOTE_FRAMES = """() => {
  window.frames_ = [];
  let last = performance.now();
  const tick = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""
# Note when the page can be used and a frame has shown it.
NOTE_FIRST_VIEW = """
const shown = () => setTimeout(() => (window.firstView = performance.now()));
const ready = () => document.documentElement?.dataset.ready === "true";
const look = () => requestAnimationFrame(ready() ? () => requestAnimationFrame(shown) : look);
look();
"""


@contextmanager
def seat_map(stage: Stage) -> Iterator[Contest]:
    site = stage.both()
    arena = an_arena()
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])

        def look() -> Sample:
            with stage.meter.measure() as cpu:
                waits = watched(stage, site, browser)
                html = page_size(site, arena)
                first, longest = on_a_slow_phone(stage, site, browser, arena)
            stage.note({"waits": sorted(waits)[-5:], "html": html, "first": first, "longest": longest})
            values = {
                "map": percentile(waits, 95),
                "map_first_view": first,
                "map_frame": longest[-1],
                "map_html": html / 1000,
            }
            return Sample(values=values, cpu=cpu)

        yield Contest(ours=look)
        browser.close()


def watched(stage: Stage, site: Process, browser: Browser) -> list[float]:
    """Return the milliseconds from a hold, before it was committed, to its colour on another buyer's screen."""
    room = aside(stage.room, 400)
    page = browser.new_page(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    open_page(page, site, room.id)
    page.evaluate(NOTE_PAINTS)
    changes = stage.sized(300)
    clock = time.time() - time.monotonic()
    began = aside(change_seats, room, changes)
    page.wait_for_function("number => Object.keys(painted).length === number", arg=changes)
    painted: dict[str, float] = page.evaluate("painted")
    page.close()
    labels = room.labels[:changes]
    return [painted[label] - (began[str(version)] + clock) * 1000 for version, label in enumerate(labels, 1)]


def on_a_slow_phone(stage: Stage, site: Process, browser: Browser, arena: Room) -> tuple[float, list[float]]:
    """Return the milliseconds until the arena can be used, and those of its longest frames while it changes."""
    context = browser.new_context(**PHONE, bypass_csp=True)
    page = context.new_page()
    devtools: CDPSession = context.new_cdp_session(page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    open_page(page, site, arena.id)
    first: float = page.evaluate("window.firstView")
    page.evaluate(NOTE_FRAMES)
    version: int = page.evaluate("JSON.parse(document.querySelector('#session-data').textContent).version")
    first_seat, *others = arena.labels  # has the keyboard's focus, so it is an element even when zoomed out
    dice = random.Random(1)
    start = version
    for start in range(version, version + stage.sized(DIFFS)):
        changes = {label: dice.choice("fhs") for label in dice.sample(others, SEATS - 1)}
        changes[first_seat] = "fhs"[start % 3]
        wire.send_diff(session=arena.id, start=start, version=start + 1, changes=changes, available=9_000)
        page.wait_for_timeout(100)
    page.wait_for_selector(f"[data-seat='{first_seat}'][data-look={'fhs'[start % 3]}]")
    frames: list[float] = page.evaluate("frames_")
    context.close()
    return first, sorted(frames)[-5:]


def open_page(page: Page, site: Process, session: uuid.UUID) -> None:
    """Open the page, and wait until it can be used, is visible, and receives changes."""
    page.add_init_script(NOTE_FIRST_VIEW)
    page.goto(f"{site.url}/sessions/{session}")
    page.wait_for_function("window.firstView")
    page.wait_for_selector("#connection[data-state=live]")


def page_size(site: Process, room: Room) -> int:
    """Return the bytes of the page's HTML on the wire."""
    address = f"{site.url}/sessions/{room.id}"
    request = urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})  # noqa: S310 our own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 see above
        body = answer.read()
        assert b"plan-chairs" in (gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body)
        return len(body)


def aside(work: Callable[..., Found], *arguments: Any) -> Found:
    """Run work in another thread: Django refuses database access in Playwright's thread, which has an event loop."""

    def then_let_go() -> Found:
        try:
            return work(*arguments)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(then_let_go).result()


def an_arena() -> Room:
    """Make the demo's arena of 10,000 seats in two curved rings."""
    house = demo.ON_THE_RIVER.house
    hall = Hall.objects.create(venue=Venue.objects.create(name=house.name, city=house.city), name="Arena")
    furnish(hall=hall, places=demo.ARENA)
    session = create_session(show="The rush", hall=hall.pk, starts_at=timezone.now() + dt.timedelta(days=1), price=9000)
    return Room(session=session, labels=[place.label for place in demo.ARENA])


EVENTS = (
    Event(
        name="map",
        figures=(
            Figure(name="map", unit="ms, 95 of 100", at_most=300),
            Figure(name="map_first_view", unit="ms", at_most=2_500),
            Figure(name="map_frame", unit="ms, longest", at_most=50),
            Figure(name="map_html", unit="KB", at_most=120),
        ),
        open=seat_map,
    ),
)
