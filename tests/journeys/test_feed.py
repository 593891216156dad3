"""Test the browser's side of the live map under loss, repetition and disorder."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.journeys.conftest import Window

pytestmark = pytest.mark.journey

ROUNDS = 60

# A hall of ten seats changes eighty times. Some messages are lost, repeated or late, and now and then the connection
# breaks. In the end the server sends its version, as its heartbeat does: the picture must equal the hall.
HALL = """async ([seed, rounds]) => {
  const { VersionedFeed } = await import("/static/realtime/feed.js");
  const random = () => { seed = (seed * 1664525 + 1013904223) >>> 0; return seed / 2 ** 32; };
  const tick = () => new Promise((resolve) => setTimeout(resolve, 0));
  const until = async (condition) => { while (!condition()) await tick(); };

  async function play() {
    const hall = Array(10).fill("f");
    let version = 0;
    let picture = [...hall];
    let fetched = 0;
    const feed = new VersionedFeed({
      version: 0,
      fetch: async () => {
        fetched += 1;
        const snapshot = { version, seats: hall.join("") };
        for (let wait = random() * 4; wait > 0; wait -= 1) await tick();
        if (random() < 0.1) throw new Error("the snapshot was lost");
        return snapshot;
      },
      replace: (snapshot) => (picture = [...snapshot.seats]),
      apply: (diff) => Object.entries(diff.changes).forEach(([seat, status]) => (picture[seat] = status)),
    });
    feed.pause = 1; // milliseconds between attempts
    const late = [];
    for (let step = 0; step < 80; step += 1) {
      const from = version;
      const changes = {};
      for (let more = 1 + random() * 3; more > 0; more -= 1) {
        const seat = Math.floor(random() * 10);
        changes[seat] = hall[seat] = "fhs"[Math.floor(random() * 3)];
        version += 1;
      }
      const diff = { type: "seats", from, version, changes };
      if (random() < 0.7) feed.take(diff);
      if (random() < 0.2) feed.take(diff);
      if (random() < 0.2) late.push(diff);
      if (late.length && random() < 0.3) feed.take(late.splice(Math.floor(random() * late.length), 1)[0]);
      if (random() < 0.05) feed.hello({ version });
      if (random() < 0.3) await tick();
    }
    const heartbeat = setInterval(() => feed.take({ type: "seats", from: version, version, changes: {} }), 5);
    await until(() => feed.version === version);
    clearInterval(heartbeat);
    return { same: picture.join("") === hall.join(""), fetched };
  }

  return Promise.all(Array.from({ length: rounds }, play));
}"""


@pytest.mark.parametrize("seed", [1, 20_260_521])
def test_a_picture_is_right_in_the_end_whatever_was_lost(window: Window, seed: int) -> None:
    page: Page = window()
    page.goto("/my-tickets")
    games = page.evaluate(HALL, [seed, ROUNDS])
    assert [game["same"] for game in games] == [True] * ROUNDS
    assert all(1 <= game["fetched"] <= 80 for game in games)
