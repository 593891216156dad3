"""Define the metrics of holding; the dashboard in `deploy/` draws them by these names."""

from prometheus_client import Counter, Gauge, Histogram

BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

admitted = Counter(
    "frontrow_admitted_total",
    "Requests at admission, by outcome (admitted, replay, or the code of the refusal) and by the queue they joined.",
    ["outcome", "queue"],
)
admit_batch = Histogram("frontrow_admit_batch_size", "Requests in a batch of admission.", buckets=BATCH)
admit_seconds = Histogram(
    "frontrow_admit_seconds", "Seconds from the start of an admission batch to its answers.", buckets=SECONDS
)
allocated = Counter("frontrow_allocated_total", "Allocated requests, by outcome.", ["outcome"])
allocate_batch = Histogram("frontrow_allocation_batch_size", "Requests in a batch of allocation.", buckets=BATCH)
allocate_seconds = Histogram("frontrow_allocation_seconds", "Seconds of one allocation transaction.", buckets=SECONDS)
wait_in_queue = Histogram(
    "frontrow_queue_seconds",
    "Seconds from the acceptance of a request to its outcome.",
    buckets=(*SECONDS, 30, 60, 300),
)
expired = Counter("frontrow_expired_total", "Expired holds.")
effects_lost = Counter("frontrow_effects_lost_total", "Failed work after a commit; sweeps repeat it later.", ["effect"])
dead_letters = Gauge(
    "frontrow_dead_letters_waiting",
    "Requests, payments, jobs and mail that failed for good and wait for a person, by their queue.",
    ["queue"],
    multiprocess_mode="max",
)
parked = Counter(
    "frontrow_parked_total",
    "Requests that went through the inbox, because their session is rate-limited or already had requests there.",
)
put_off = Counter("frontrow_put_off_total", "How often a session's rate made a request wait, by the rate.", ["rate"])
rates = Gauge(
    "frontrow_rate",
    "A session's rate per second; 0: the rate is no longer set.",
    ["session", "rate"],
    multiprocess_mode="max",
)
