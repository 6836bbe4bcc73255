"""What can be said of the tables without measuring anything: `python3 -m unittest benches/peers/tests.py`. It needs no package.

That the peers work is what `run --smoke` shows.
"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import report
from ours import TCP, THREADS, UNIX, Failed, answer, records_of, scale


def record(who, series, samples, round_=0, slot=0, **more):
    return {"who": who, "series": series, "samples": samples, "round": round_, "slot": slot, "way": "a way", "unit": "s"} | more


def picture(who, samples, round_=0, slot=0, **more):
    return record(who, "picture", samples, round_, slot, **({"bands": 64, "format": "counts"} | more))


def run(records, **more):
    plan = {"workers": 2, "rounds": 1, "runs": 1, "bands": [64, 16]}
    plan["scene"] = {"c": [-0.8, 0.156], "columns": 4000, "rows": 2000, "limit": 256}
    machine = {"processor": "a processor", "cores": 2, "system": "Linux"}
    packages = {"ray": "1.0", "distributed": "2.0", "ipyparallel": "3.0"}
    facts = {
        "plan": plan,
        "machine": machine,
        "packages": packages,
        "command": "run",
        "commit": "c0ffee",
        "program": "fractally 0",
    }
    facts |= {"started": "2026-01-01T00:00:00Z", "python": "3", "load_before": [0, 0, 0], "load_after": [1, 0, 0]}
    return facts | {"smoke": False, "missing": [], "failures": [], "records": records} | more


class Efficiency(unittest.TestCase):
    def test_a_peer_is_held_against_the_references_next_to_its_turn(self):
        references = [picture("numba", [0.3], slot=0), picture("numba", [0.5], slot=1), picture("numba", [9.0], slot=2)]
        other_round = [picture("numba", [9.0], round_=1)]
        rows = run([*references, *other_round, picture("Ray", [0.8], slot=0)])
        found = report.best(rows, "Ray", "picture", bands=64, format="counts")
        self.assertEqual(report.efficiency(rows, found, "counts"), "50% (50%–50%)")

    def test_fractally_is_held_against_its_own_kernel_and_format_just_beside(self):
        threads = [picture(THREADS, [0.4]), picture(THREADS, [9.0], format="png"), picture(THREADS, [9.0], bands=None)]
        rows = run([*threads, picture("numba", [9.0]), picture(TCP, [0.5])])
        found = report.best(rows, TCP, "picture", bands=64, format="counts")
        self.assertEqual(report.efficiency(rows, found, "counts"), "80% (80%–80%)")

    def test_rounds_count_alike(self):
        references = [picture("numba", [1.0], round_=round_, slot=slot) for round_ in range(3) for slot in range(2)]
        pictures = [picture("Ray", [seconds], round_=round_) for round_, seconds in enumerate([2.0, 1.0, 4.0])]
        rows = run(references + pictures)
        found = report.best(rows, "Ray", "picture", bands=64)
        self.assertEqual(report.efficiency(rows, found, "counts"), "50% (25%–100%)")


class Table(unittest.TestCase):
    def test_the_best_way_counts_and_all_are_listed(self):
        tasks = [record("Ray", "tasks", [2e-3], way="slow", tasks=500), record("Ray", "tasks", [1e-3], way="quick", tasks=1000)]
        text = report.table(run(tasks))
        self.assertIn("| 1.00 ms (1.00 ms–1.00 ms) | 1,000 |", text)
        self.assertIn("quick 1.00 ms of 1,000 tasks; slow 2.00 ms of 500 tasks", text)

    def test_tasks_without_work_are_held_against_the_best_of_the_others(self):
        ours = [record(UNIX, "tasks", [2e-5], way="bands, credit 4"), record(UNIX, "tasks", [1e-5], way="bands, credit 8")]
        tasks = [*ours, record(TCP, "tasks", [4e-5]), record("Ray", "tasks", [2e-4]), record("dask.distributed", "tasks", [3e-4])]
        text = report.table(run(tasks))
        self.assertIn("than the best of the others, Ray: Fractally, Unix sockets 20.0x, Fractally, TCP 5.0x.", text)
        self.assertIn("Fractally, Unix sockets, no-op tasks: bands, credit 8 10.0 µs; bands, credit 4 20.0 µs", text)
        self.assertNotIn("the best of the others", report.table(run(ours)))

    def test_the_kernel_without_a_grid_is_one_thing_whatever_grid_stood_beside_it(self):
        threads = [picture(THREADS, [0.3], way="in 64 bands"), picture(THREADS, [0.5, 0.4], bands=None, way="as it cuts them")]
        text = report.table(run([*threads, picture(UNIX, [0.5])]))
        self.assertIn("| its kernel on 2 threads | 400 ms (300 ms–500 ms) |", text)

    def test_what_failed_or_is_missing_is_told(self):
        failures = [{"round": 1, "who": "dask", "why": "it hung"}]
        text = report.table(run([], missing=["ray"], failures=failures, smoke=True))
        self.assertIn("Not installed, so not measured: ray", text)
        self.assertIn("FAILED in round 2: dask", text)
        self.assertIn("no figure of it means anything", text)

    def test_times_have_three_digits(self):
        times = [report.human(seconds) for seconds in (123.4, 12.34, 1.234, 0.1234, 1.234e-3, 12.34e-6, 0.1e-6)]
        self.assertEqual(times, ["123 s", "12.3 s", "1.23 s", "123 ms", "1.23 ms", "12.3 µs", "0.10 µs"])


class Ours(unittest.TestCase):
    def test_the_records_of_fractally_bench_are_read(self):
        def bench(series, what, threads, unit, samples, credit=None):
            return {"series": series, "what": what, "threads": threads, "credit": credit, "unit": unit, "samples": samples}

        records = [
            bench("strong", "scene", 1, "s", [0.8]),
            bench("strong", "scene", 2, "s", [0.4]),
            bench("strong", "scene, on threads of one process", 2, "s", [0.3]),
            bench("overhead", "bands without work", 2, "bands/s", [50_000.0], credit=4),
            bench("overhead", "bands without work", 2, "bands/s", [80_000.0], credit=8),
            bench("overhead", "bands without work", 3, "bands/s", [1.0], credit=8),
            bench("overhead", "a band without work, the broker's processor time", 2, "us/band", [14.0]),
            bench("latency", "a job of one band, idle grid", 2, "s", [2e-4]),
            bench("latency", "a job of one band, beside a batch job", 2, "s", [0.5]),
        ]
        found = records_of({"records": records}, UNIX, "counts", None, 2)
        told = [(each["who"], each["series"], each["samples"]) for each in found]
        self.assertEqual(
            told,
            [
                (UNIX, "picture", [0.4]),
                (THREADS, "picture", [0.3]),
                (UNIX, "tasks", [2e-5]),
                (UNIX, "tasks", [1.25e-5]),
                (UNIX, "round trip", [2e-4]),
            ],
        )
        self.assertEqual([each["way"] for each in found if each["series"] == "tasks"], ["bands, credit 4", "bands, credit 8"])

    def test_the_credit_of_a_grid_that_was_running_is_known_to_whoever_made_it(self):
        record = {"series": "overhead", "what": "bands without work", "threads": 2, "credit": None, "unit": "bands/s"}
        found = records_of({"records": [record | {"samples": [50_000.0]}]}, TCP, None, None, 2, 8)
        self.assertEqual([each["way"] for each in found], ["bands, credit 8"])

    def test_a_program_that_fails_is_told_with_its_words(self):
        with self.assertRaisesRegex(Failed, "exit code 3: because"):
            answer(["sh", "-c", "echo because >&2; exit 3"], 10)
        with self.assertRaisesRegex(Failed, "not done within 0.1 s"):
            answer(["sleep", "60"], 0.1)
        with self.assertRaisesRegex(Failed, "No such file"):
            answer(["/nowhere/fractally"], 10)

    def test_the_scale_stays_within_its_limits(self):
        self.assertEqual([scale(1, 100_000), scale(10_000, 100_000), scale(10_000, 200)], ["0.0001", "0.1", "10"])


if __name__ == "__main__":
    unittest.main()
