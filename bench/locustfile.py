"""Simulate buyers with locust, to load your own site from another machine.

    uv tool run locust -f bench/locustfile.py --host https://tickets.example.com

Each buyer is a guest who looks at the map of one session, asks for one or two free seats, waits for the outcome, and
most often gives them up again. FRONTROW_SESSION names the session; without it, the first one on sale is used. Run the
site with RATE_LIMITS=off, which production refuses, or use many addresses. A site that answers 429 to one machine that
plays a thousand buyers does what it should.

Locust is not a dependency of Frontrow and shares no environment with it, because gevent's patches break it beside
Django.
"""

import os
import random

from locust import HttpUser, between, events, task
from locust.env import Environment

SESSION = os.environ.get("FRONTROW_SESSION", "")
REFUSALS = {"seats_unavailable", "sold_out", "limit_reached"}  # another buyer was faster; not a failure of the site
API = "/api/v1"


class Buyer(HttpUser):
    """Pause between two requests, as people do. Set the pause to nothing for a stampede."""

    wait_time = between(0.5, 3)

    def on_start(self) -> None:
        guest = self.client.post(f"{API}/auth/guest", name="guest").json()
        self.client.headers["Authorization"] = f"Bearer {guest['access']}"
        self.session = SESSION or self.client.get(f"{API}/sessions", name="sessions").json()["results"][0]["id"]

    @task
    def look_and_hold(self) -> None:
        seats = self.client.get(f"{API}/sessions/{self.session}/seats", name="seats").json()["seats"]
        free = [seat["label"] for seat in seats if seat["status"] == "free"]
        if free:
            self.hold(random.sample(free, min(len(free), random.choice([1, 2]))))

    @task
    def hold_the_best(self) -> None:
        self.ask({"best_available": {"quantity": 2}}, name="hold best available")

    def hold(self, seats: list[str]) -> None:
        self.ask({"seats": seats}, name="hold seats")

    def ask(self, wish: dict[str, object], *, name: str) -> None:
        """Ask, and wait for the outcome. A lost race is a success. Two of three winners give their seats up again."""
        with self.client.post(
            f"{API}/reservations",
            json={"session": self.session, **wish},
            headers={"Prefer": "wait=5", "Idempotency-Key": os.urandom(16).hex()},
            name=name,
            catch_response=True,
        ) as answer:
            if answer.status_code == 409 and answer.json()["code"] in REFUSALS:
                answer.success()
        if answer.status_code in (201, 202) and random.random() < 2 / 3:
            self.client.delete(f"{API}/reservations/{answer.json()['id']}", name="release")


@events.test_start.add_listener
def say_what_is_loaded(environment: Environment, **_facts: object) -> None:
    session = SESSION or "the first session on sale"
    print(f"Buyers at {environment.host} want {session}.")  # noqa: T201 locust's log hides plain lines
