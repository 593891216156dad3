"""What operators watch of holding; names are what the dashboard in `deploy/` draws."""

from prometheus_client import Counter, Gauge, Histogram

BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

admitted = Counter(
    "frontrow_admitted_total",
    "Requests at the front door: admitted, replay, or the code of their refusal; and the line they joined.",
    ["outcome", "line"],
)
admit_batch = Histogram("frontrow_admit_batch_size", "Requests in a batch of the front door.", buckets=BATCH)
admit_seconds = Histogram("frontrow_admit_seconds", "From a batch's start to its answers.", buckets=SECONDS)
settled = Counter("frontrow_settled_total", "Requests settled, by outcome.", ["outcome"])
settle_batch = Histogram("frontrow_settle_batch_size", "Requests in a batch of the settling.", buckets=BATCH)
settle_seconds = Histogram("frontrow_settle_seconds", "One settling transaction.", buckets=SECONDS)
wait_in_line = Histogram("frontrow_line_seconds", "From acceptance to outcome.", buckets=(*SECONDS, 30, 60, 300))
expired = Counter("frontrow_expired_total", "Holds that ran out.")
effects_lost = Counter(
    "frontrow_effects_lost_total", "Work after a commit that failed; it heals by itself, later.", ["effect"]
)
dead_letters = Gauge(
    "frontrow_dead_letters_waiting",
    "Requests, payments, jobs and mail that failed for good and wait for a person, by the queue they waited in.",
    ["queue"],
    multiprocess_mode="max",
)
parked = Counter(
    "frontrow_parked_total",
    "Requests that went by way of the inbox, because their session is settled in turns or something of it waited there.",
)
put_off = Counter("frontrow_put_off_total", "How often a session's rate made somebody wait, by the rate.", ["rate"])
rates = Gauge(
    "frontrow_rate",
    "What a session's rate is set to, a second; 0: to nothing any more.",
    ["session", "rate"],
    multiprocess_mode="max",
)
