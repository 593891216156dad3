"""Check the benchmark's own arithmetic, and its load generator against a server of ten lines."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cpu, enduring, figures, generator, memory, truth
from bench.__main__ import NAMES, USUAL, events, main, parser, runs_of
from bench.figures import Figure, Measurement, percentile
from bench.generator import Generator, Plan, content_length
from bench.truth import Outcome

ROOT = Path(__file__).parents[2]
FAST = Figure(name="fast", unit="holds/s", of_limit=0.5, times_usual=4)
SLOW = Figure(name="slow", unit="ms", at_most=100)


class TestPercentile:
    def test_of_one_value_is_that_value(self) -> None:
        assert percentile([7.0], 99) == 7.0

    def test_leaves_one_of_a_hundred_above_it(self) -> None:
        assert percentile([float(number) for number in range(100, 0, -1)], 99) == 99.0

    def test_50_is_the_lower_middle(self) -> None:
        assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0

    def test_of_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            percentile([], 50)


class TestMeasurement:
    def test_compares_medians(self) -> None:
        found = Measurement(figure=FAST, runs=[100.0, 900.0, 300.0], limits=[600.0, 500.0, 700.0], usuals=[60.0])
        assert (found.value, found.of_limit, found.times_usual) == (300.0, 0.5, 5.0)
        assert found.verdict == "met"

    def test_says_by_how_much_it_misses(self) -> None:
        assert Measurement(figure=FAST, runs=[100.0], limits=[400.0], usuals=[10.0]).verdict == "missed by 50%"
        assert Measurement(figure=SLOW, runs=[125.0]).verdict == "missed by 25%"

    def test_fails_when_an_outcome_was_wrong_however_fast_it_was(self) -> None:
        assert Measurement(figure=SLOW, runs=[1.0], wrong=["2 seats are held twice"]).verdict == "FAILED"

    def test_shows_the_cost_of_the_run_nearest_the_median(self) -> None:
        costs = [{"web": 1.0}, {"web": 2.0}, {"web": 3.0}]
        found = Measurement(figure=SLOW, runs=[30.0, 10.0, 20.0], costs=list(costs))
        assert found.cpu == {"web": 3.0}


class TestJson:
    def test_has_what_was_agreed_and_nothing_else(self) -> None:
        found = Measurement(figure=FAST, runs=[1234.5678], usuals=[100.0], costs=[{"web": 1.5}])
        kept = json.loads(figures.as_json([found], machine={"cores": 2}, commit="abc"))
        assert list(kept) == ["machine", "commit", "measurements"]
        assert kept["measurements"] == [
            {
                "name": "fast",
                "value": 1235.0,
                "unit": "holds/s",
                "limit": None,
                "usual": 100.0,
                "of_limit": None,
                "times_usual": 12.35,
                "runs": [1235.0],
                "cpu": {"web": 1.5},
            }
        ]

    def test_keeps_a_measurement_that_never_came_to_an_end(self) -> None:
        kept = Measurement(figure=SLOW, wrong=["the worker died"]).as_json()
        assert (kept["value"], kept["runs"]) == (None, [])


class TestTable:
    def test_shows_every_measurement_with_its_verdict(self) -> None:
        table = figures.as_table([Measurement(figure=SLOW, runs=[10.0]), Measurement(figure=FAST, runs=[20_000.0])])
        assert "slow         10" in table
        assert "20,000" in table
        assert "≤ 100" in table


class TestMemory:
    def test_is_told_once_for_all_figures_of_a_measurement(self) -> None:
        taken = {"web 1": [100.2, 120.0, 121.4], "generator": [23.0]}
        watched = [Measurement(figure=figure, memory=taken) for figure in (SLOW, FAST)]
        assert figures.as_memory(watched) == "slow: web 1 100 → 120 → 121, generator 23"
        assert figures.as_memory([Measurement(figure=SLOW)]) == ""

    def test_grows_by_what_the_worst_process_takes_from_the_middle_on(self) -> None:
        assert enduring.growth({"web": [100, 120, 126], "relay": [10, 60, 60], "generator": [23]}) == pytest.approx(5)

    def test_of_a_process_is_what_it_says_itself(self) -> None:
        said = (Path("/proc/self/status").read_text().split("VmRSS:")[1]).split()[0]
        assert memory.resident(os.getpid()) == pytest.approx(int(said) / 1024, rel=0.1)
        assert memory.resident(2**22 + 1) == 0.0


class TestCommand:
    def test_knows_every_measurement_by_name(self) -> None:
        assert tuple(event.name for event in events(NAMES)) == NAMES

    def test_takes_them_in_its_own_order(self) -> None:
        assert [event.name for event in events(["lone", "allocate", "lone"])] == ["allocate", "lone"]

    def test_takes_all_that_begin_with_a_name_but_what_is_large(self) -> None:
        assert [event.name for event in events(["live"])] == ["live", "live_raw", "live_crowd", "live_storm"]
        assert [event.name for event in events(["orders"])] == ["orders", "orders_told", "orders_faults"]

    def test_takes_what_is_large_where_it_is_named_and_once(self) -> None:
        (large,) = events(["orders_large"])
        assert (large.name, runs_of(large, 3)) == ("orders_large", 1)
        assert "orders_large" not in {event.name for event in events(USUAL)}

    def test_takes_all_of_them_three_times_unless_told_otherwise(self) -> None:
        asked = parser().parse_args([])
        assert (asked.names, asked.runs, asked.quick) == ([], 3, False)

    def test_refuses_a_name_it_does_not_know(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["everything"])
        assert "everything" in capsys.readouterr().err


class TestCpu:
    def test_reads_a_process_whose_name_has_spaces_and_brackets(self) -> None:
        rest = "S 1 42 43 0 -1 4194560 1 2 3 4 100 50 25 25 20 0 1 0 99"
        assert cpu.parse(f"42 (a (b) c) {rest}") == cpu.Stat(42, "a (b) c", 1, 43, 200 / cpu.TICK)

    def test_counts_a_group_with_all_it_started(self) -> None:
        ours = [cpu.Stat(2, "web", 1, 2, 1.0), cpu.Stat(3, "web", 2, 2, 2.5), cpu.Stat(9, "other", 1, 9, 5.0)]
        assert cpu.of_group(2, ours) == 3.5

    def test_sees_itself(self) -> None:
        assert os.getpid() in {stat.pid for stat in cpu.everything()}


def outcome(name: str, seat: str, *, arrival: int, status: str = "held") -> Outcome:
    return Outcome(name, status, "", arrival, [seat])


class TestTruth:
    def test_is_content_when_the_first_has_the_seat(self) -> None:
        outcomes = [outcome("ana", "A1", arrival=1), outcome("bruno", "A1", arrival=2, status="rejected")]
        assert list(truth.faults(outcomes, ["ana", "bruno"])) == []

    @pytest.mark.parametrize(
        ("outcomes", "fault"),
        [
            ([], "1 accepted requests are lost"),
            ([outcome("ana", "A1", arrival=1, status="queued")], "1 accepted requests have no outcome"),
            ([outcome("ana", "A1", arrival=1), outcome("bruno", "A2", arrival=2)], "promised to nobody"),
            ([outcome("ana", "A1", arrival=1), outcome("bruno", "A1", arrival=2)], "1 seats are held twice"),
            (
                [outcome("bruno", "A1", arrival=1, status="rejected"), outcome("ana", "A1", arrival=2)],
                "1 seats were not given to the first who asked",
            ),
        ],
    )
    def test_notices(self, outcomes: list[Outcome], fault: str) -> None:
        assert any(fault in found for found in truth.faults(outcomes, ["ana"]))


class TestRefusedInVain:
    HALL = ("A1", "A2", "A3", "B1")

    def pair(self, *seats: str, arrival: int, status: str = "held") -> Outcome:
        return Outcome(f"{arrival}", status, "", arrival, list(seats))

    def test_is_content_when_only_single_seats_are_left(self) -> None:
        outcomes = [self.pair("A1", "A2", arrival=1), self.pair(arrival=2, status="rejected")]
        assert list(truth.refused_in_vain(self.HALL, outcomes)) == []

    def test_notices_a_pair_that_is_still_free(self) -> None:
        outcomes = [self.pair(arrival=1, status="rejected")]
        assert list(truth.refused_in_vain(self.HALL, outcomes)) == ["2 pairs are free, and 1 buyers were refused"]

    def test_notices_a_pair_that_somebody_got_later(self) -> None:
        outcomes = [self.pair(arrival=1, status="rejected"), self.pair("A2", "A3", arrival=2)]
        assert list(truth.refused_in_vain(self.HALL, outcomes)) == ["1 pairs were taken after somebody was refused"]


# --- The generator


class Polite(socketserver.StreamRequestHandler):
    """Answer each request with its own body, and hang up on request."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            head = [line]
            while (line := self.rfile.readline()).strip():
                head.append(line)
            body = self.rfile.read(content_length(b"".join(head)))
            if body == b"hang up":
                return
            status = b"409 Conflict" if body == b"taken" else b"202 Accepted"
            self.wfile.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
            self.wfile.flush()
            self.wfile.write(body)


class PoliteServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture
def port() -> Iterator[int]:
    with PoliteServer(("127.0.0.1", 0), Polite) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def post(body: str) -> str:
    return f"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n{body}"


class TestGenerator:
    def test_gets_every_answer_to_its_own_request(self, port: int) -> None:
        bodies = [f"number {number}" for number in range(200)]
        report = Generator(Plan(ports=[port] * 8, requests=[post(body) for body in bodies])).run()
        assert [answer.body for answer in report.answers] == bodies
        assert {answer.status for answer in report.answers} == {202}

    def test_notes_statuses_and_times(self, port: int) -> None:
        report = Generator(Plan(ports=[port], requests=[post("free"), post("taken")])).run()
        first, second = report.answers
        assert (first.status, second.status) == (202, 409)
        assert 0 <= first.began < first.ended <= second.began < second.ended

    def test_keeps_its_pace_whatever_the_answers_do(self, port: int) -> None:
        report = Generator(Plan(ports=[port] * 4, requests=[post("x")] * 11, rate=100)).run()
        assert report.answers[10].began >= 0.1
        assert report.answers[10].began - report.answers[0].began < 1

    def test_notes_who_got_no_answer_and_goes_on(self, port: int) -> None:
        asks = [post("hang up"), *[post("x")] * 5]
        report = Generator(Plan(ports=[port] * 2, requests=asks)).run()
        assert [answer.status for answer in report.answers] == [0, 202, 202, 202, 202, 202]

    def test_gives_up_when_every_connection_is_gone(self, port: int) -> None:
        report = Generator(Plan(ports=[port], requests=[post("hang up"), post("x")])).run()
        assert [(answer.index, answer.status) for answer in report.answers] == [(0, 0), (1, 0)]

    def test_is_a_program_too(self, port: int, tmp_path: Path) -> None:
        bodies = [f"number {number}" for number in range(20)]
        generator.write_plan(tmp_path / "plan", Plan(ports=[port] * 3, requests=map(post, bodies)))
        generator.main(tmp_path / "plan", tmp_path / "answers")
        report = generator.read_report(tmp_path / "answers")
        assert [answer.body for answer in report.answers] == bodies
        assert 1 < report.memory < 10_000

    def test_takes_the_next_request_only_when_it_is_due(self, port: int) -> None:
        taken: list[int] = []

        def asks() -> Iterator[str]:
            for number in range(50):
                taken.append(number)
                yield post("x")

        ahead = []
        plan = Plan(ports=[port] * 2, requests=asks())
        Generator(plan, note=lambda answer: ahead.append(len(taken) - answer.index)).run()
        assert len(ahead) == 50
        assert max(ahead) <= 4  # two on their way, one being handled


def test_nothing_of_the_product_imports_the_benchmark() -> None:
    apps = ("config", "ticketing", "reservations", "sessions_app", "realtime", "base")
    sources = [file for app in apps for file in (ROOT / app).rglob("*.py")]
    assert [file for file in sources if "bench" in file.read_text().replace("benchmark", "")] == []
