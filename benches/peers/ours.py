"""Fractally's own figures, in the peers' records: what `fractally bench` measures, taken out of the JSON that it writes.

Its grids here are a broker and workers of one thread over TCP on the loopback, as the peers' are, and the local grid over Unix
sockets, which `fractally render` starts. The kernel is the scalar one: the definition, as numba compiles it for the peers. What
`fractally bench` says is read in `records_of` and nowhere else.
"""

import json
import os
import select
import subprocess
import time
from pathlib import Path

from children import spawn, stop

TCP, UNIX, THREADS = "Fractally, TCP", "Fractally, Unix sockets", "Fractally's kernel on threads"
KERNEL = "scalar"
FORMATS = {"counts": "npy", "png": "png"}
READY_SECONDS = 20
# No-op bands of one measurement at --scale 1, and jobs of one band.
OVERHEAD_BANDS, LATENCY_JOBS = 100_000, 200
# Bands that a worker takes at once: what a worker of one thread does unless it is told, and more.
CREDITS = [2, 4, 8]
SCALE_LEAST, SCALE_MOST = 0.0001, 10


class Failed(Exception):
    """Something did not do what it should; the text says what."""


def environment():
    """Ours, without what a user has set for other grids."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FRACTALLY_")}


def answer(command, seconds):
    """What a command prints to stdout."""
    try:
        child = spawn(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    try:
        out, told = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: not done within {seconds} s") from None
    finally:
        stop(child)
        child.stdout.close()
        child.stderr.close()
    if child.returncode:
        raise Failed(f"{' '.join(command)}: exit code {child.returncode}: {told.strip()[-2000:]}")
    return out


def records_of(run, who, form, bands, workers, credit=None):
    """The records of a run of `fractally bench` as the peers' are; `form` is what was rendered, `bands` how it was cut (None: as
    the broker does by itself), `credit` what workers of a grid took at once that was not made by it. What the table has no place
    for is left out."""
    found = []
    for record in run["records"]:
        what, samples = record["what"], record["samples"]
        ours = {"who": who, "way": what, "unit": "s", "samples": samples}
        match record["series"], record["unit"]:
            case "strong", "s" if record["threads"] == workers:
                if what.endswith("on threads of one process"):
                    ours["who"] = THREADS
                found.append(ours | {"series": "picture", "bands": bands, "format": form})
            case "overhead", "bands/s" if record["threads"] == workers:
                ours["way"] = f"bands, credit {credit or record['credit']}"
                found.append(ours | {"series": "tasks", "unit": "s/task", "samples": [1 / rate for rate in samples]})
            case "latency", "s" if "idle" in what:
                found.append(ours | {"series": "round trip"})
    return found


class Ours:
    def __init__(self, program, lab, seconds):
        self.program, self.lab, self.seconds = str(program), Path(lab), seconds
        self.version = answer([self.program, "--version"], seconds).strip()
        self.commands = []
        if "bench" not in answer([self.program, "--help"], seconds):
            raise Failed(f"{self.program} has no `bench`: build the program of this tree")

    def expected(self, scene, path):
        """The counts that all are compared with."""
        command = [self.program, "render", "--workers", "1", "--kernel", KERNEL, *scene, "-o", str(path), "-q"]
        answer(command, self.seconds)

    def measure(self, plan):
        """All records of a round."""
        return self._pictures(plan) + self._tasks(plan) + self._round_trips(plan) + self._start(plan)

    def _pictures(self, plan):
        return [record for form in FORMATS for record in self._pictures_as(form, plan)]

    def _pictures_as(self, form, plan):
        """However it is cut: a local grid and the threads of one process, in turn; just after them, a grid over TCP."""
        workers = plan["workers"]
        picture = ["strong", *plan["options"], "--format", FORMATS[form], "--runs", str(plan["runs"])]
        records = []
        for bands in [*plan["bands"], None]:
            cut = [] if bands is None else ["--bands", str(bands)]
            local = self._bench([*picture, *cut, "--workers", str(workers), "--kernel", KERNEL, "--no-mirror"])
            records += records_of(local, UNIX, form, bands, workers)
            with Grid(self, workers, ["--no-mirror", *cut], ["--kernel", KERNEL, "--no-mirror"]) as grid:
                run = self._bench([*picture, "--broker", grid.clients])
            records += records_of(run, TCP, form, bands, workers)
        return records

    def _round_trips(self, plan):
        """Jobs of one pixel."""
        with Grid(self, plan["workers"], [], ["--kernel", KERNEL]) as grid:
            count = scale(plan["round_trips"], LATENCY_JOBS)
            run = self._bench(["latency", "--broker", grid.clients, "--runs", "1", "--scale", count])
        return records_of(run, TCP, None, None, plan["workers"])

    def _tasks(self, plan):
        """Bands without work, by how many of them a worker takes at once."""
        overhead = ["overhead", "--runs", "1", "--scale", scale(plan["tasks"], OVERHEAD_BANDS)]
        workers = plan["workers"]
        # Its local grids are of two workers, whatever is asked for: others say nothing of `workers`, and are left out.
        records = records_of(self._bench(overhead), UNIX, None, None, workers)
        for credit in CREDITS:
            with Grid(self, workers, ["--no-op"], ["--no-op", "--credit", str(credit)]) as grid:
                run = self._bench([*overhead, "--broker", grid.clients])
            records += records_of(run, TCP, None, None, workers, credit)
        return [record | {"tasks": plan["tasks"]} for record in records]

    def _start(self, plan):
        """A local grid from nothing, a picture of one pixel, and the grid taken down again."""
        file = self.lab / "first.npy"
        command = [self.program, "render", "--workers", str(plan["workers"]), "--size", "1x1", "-q", "-o", str(file)]
        started = time.perf_counter()
        answer(command, self.seconds)
        seconds = time.perf_counter() - started
        file.unlink()
        return [{"who": UNIX, "series": "start", "way": "`fractally render`, to its end", "unit": "s", "samples": [seconds]}]

    def _bench(self, options):
        file = self.lab / "bench.json"
        command = [self.program, "bench", *options, "--json", str(file), "-q"]
        # Ports are of no interest.
        self.commands.append(" ".join(["fractally bench", *["ENDPOINT" if "://" in option else option for option in options]]))
        answer(command, self.seconds)
        run = json.loads(file.read_text())
        file.unlink()
        if run.get("format") != 1:
            raise Failed(f"{' '.join(command)}: writes format {run.get('format')}, and 1 is read here")
        return run


def scale(wanted, at_one):
    """`--scale` for so many where 1 gives `at_one`."""
    return str(min(max(wanted / at_one, SCALE_LEAST), SCALE_MOST))


class Grid:
    """A broker and workers of one thread over TCP on the loopback, on ports that are free."""

    def __init__(self, ours, workers, broker_options, worker_options):
        self.ours, self.workers = ours, workers
        self.broker_options, self.worker_options = broker_options, worker_options
        self.children = []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        ports = ["--listen", "127.0.0.1", "--client-port", "0", "--worker-port", "0"]
        broker = self._spawn(["broker", *ports, *self.broker_options], stdout=subprocess.PIPE, text=True)
        # A line comes, or the end of the pipe when the broker has gone.
        if not select.select([broker.stdout], [], [], READY_SECONDS)[0]:
            raise Failed(f"the broker says nothing within {READY_SECONDS} s")
        words = broker.stdout.readline().split()
        if len(words) != 3 or words[0] != "ready":
            raise Failed(f"the broker says {words}, not where it listens")
        _, self.clients, workers = words
        for _ in range(self.workers):
            self._spawn(["worker", "--broker", workers, "--threads", "1", *self.worker_options], stdout=subprocess.DEVNULL)
        self._await_workers()

    def _spawn(self, command, **options):
        command = [self.ours.program, "--log", "error", *command]
        child = spawn(command, env=environment(), **options)
        self.children.append(child)
        return child

    def _await_workers(self):
        deadline = time.monotonic() + READY_SECONDS
        while True:
            status = json.loads(answer([self.ours.program, "status", "--broker", self.clients, "--json"], READY_SECONDS))
            if len(status["workers"]) == self.workers:
                return
            if time.monotonic() > deadline:
                raise Failed(f"{len(status['workers'])} of {self.workers} workers have come within {READY_SECONDS} s")
            time.sleep(0.02)

    def __exit__(self, *_):
        for child in reversed(self.children):
            stop(child)
            if child.stdout:
                child.stdout.close()
