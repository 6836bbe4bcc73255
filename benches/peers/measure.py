"""Fractally beside dask.distributed, Ray and ipyparallel: the same picture, tasks without work, round trips, starts, in turn in
one run.

`run` makes what this needs and starts it; `run --help` has the options. Each contender has the machine for itself: its cluster
is started, measured and stopped before the next one's turn, and the rounds begin with another one each. The reference, the same
kernel on threads of one process, is measured before and after every turn, so that a slow moment of the machine strikes both.

Peers are measured in processes of their own (drive.py), Fractally through `fractally bench` (ours.py). Whatever happens,
nothing that was started here is left, and the temporary folder is removed (children.py).
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import children
import ours
import report

HERE = Path(__file__).resolve().parent
FORMAT = 1
REFERENCE = "numba"
# Module, and the packages without which it is left out.
PEERS = {"ray": ["ray"], "dask": ["dask", "distributed"], "ipyparallel": ["ipyparallel"]}
OURS = "fractally"
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SCENE = {"c": [-0.8, 0.156], "columns": 4000, "rows": 2000, "width": 4.0, "limit": 256}
SMALL = SCENE | {"columns": 400, "rows": 200}


def arguments():
    parser = argparse.ArgumentParser(
        prog="benches/peers/run",
        description="Measures Fractally, dask.distributed, Ray and ipyparallel in turn, and writes run.json and table.md.",
        epilog="Measure on a machine that does nothing else, and compare only figures of one run.",
    )
    parser.add_argument(
        "--output", metavar="DIRECTORY", type=Path, required=True, help="where run.json and table.md go; it is made"
    )
    parser.add_argument("--workers", metavar="N", type=number(1, 64), default=2, help="workers of one thread, of each (2)")
    parser.add_argument("--rounds", metavar="N", type=number(1, 100), help="turns of each (5)")
    parser.add_argument("--runs", metavar="N", type=number(1, 100), help="pictures of each kind in a round (5)")
    parser.add_argument("--tasks", metavar="N", type=number(100, 100_000), help="no-op tasks in a round (10000)")
    parser.add_argument(
        "--tasks-seconds", metavar="S", type=number(1, 600), help="fewer, where they would take longer than so many seconds (10)"
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=[OURS, *PEERS], help="leave out all others; may be repeated"
    )
    parser.add_argument("--smoke", action="store_true", help="one round of a small picture and few tasks: does all of it work?")
    args = parser.parse_args()
    defaults = {"rounds": 5, "runs": 5, "tasks": 10_000, "tasks_seconds": 10}
    small = {"rounds": 1, "runs": 1, "tasks": 200, "tasks_seconds": 1}
    for name, value in (small if args.smoke else defaults).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def number(least, most):
    def read(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


class Measurement:
    """One run: its plan, its temporary folder, and what was found so far."""

    def __init__(self, args, lab):
        self.args, self.lab = args, lab
        scene = SMALL if args.smoke else SCENE
        self.seconds = 120 if args.smoke else 600
        self.plan = {
            "scene": scene,
            "options": options(scene),
            "workers": args.workers,
            "bands": [64, 16],
            "runs": args.runs,
            "tasks": args.tasks,
            "tasks_seconds": args.tasks_seconds,
            "round_trips": 20 if args.smoke else 200,
            "expected": str(lab / "expected.npy"),
        }
        self.contenders, self.missing = contenders(args.only)
        self.ours = None
        self.records, self.failures = [], []

    def run(self):
        self.ours = ours.Ours(program(), self.lab, self.seconds)
        say("the counts that all are compared with")
        self.ours.expected(self.plan["options"], self.plan["expected"])
        self.narrow_expected()
        started, load_before = now(), os.getloadavg()
        for round_ in range(self.args.rounds):
            self.round(round_)
            # What there is stays, should the next round be cut short.
            found = {"started": started, "ended": now(), "load_before": load_before, "load_after": os.getloadavg()}
            run = self.facts(round_ + 1) | found | {"records": self.records, "failures": self.failures}
            write(self.args.output, run)
        return run

    def narrow_expected(self):
        """The peers' counts are u16, as the talk's; Fractally's files have u32."""
        import numpy

        counts = numpy.load(self.plan["expected"])
        narrow = counts.astype(numpy.uint16)
        if not (narrow == counts).all():
            raise SystemExit("the scene's counts do not fit u16")
        numpy.save(self.plan["expected"], narrow)

    def round(self, round_):
        """Every contender once, a reference before and after each."""
        first = round_ % len(self.contenders)
        turns = self.contenders[first:] + self.contenders[:first]
        self.turn(round_, 0, REFERENCE)
        for slot, name in enumerate(turns):
            self.turn(round_, slot, name)
            self.turn(round_, slot + 1, REFERENCE)

    def turn(self, round_, slot, name):
        say(f"round {round_ + 1} of {self.args.rounds}: {name}")
        try:
            records = self.measured(name)
        except Exception as error:
            self.fail(round_, name, f"{type(error).__name__}: {error}")
            records = []
        self.records += [record | {"round": round_, "slot": slot} for record in records]
        if left := children.end_descendants():
            say(f"{name} left processes behind, which were ended: {', '.join(left)}")

    def measured(self, name):
        # Ray's sockets have long names in it, so it has a short one.
        lab = Path(tempfile.mkdtemp(prefix="", dir=self.lab))
        try:
            return self.ours.measure(self.plan) if name == OURS else self.driven(name, lab)
        finally:
            children.end_descendants()
            shutil.rmtree(lab, ignore_errors=True)

    def driven(self, name, lab):
        plan, result, log = lab / "plan.json", lab / "result.json", lab / "log"
        bands = [1] if name == REFERENCE else self.plan["bands"]
        plan.write_text(json.dumps(self.plan | {"bands": bands, "lab": str(lab), "spawned": time.monotonic()}))
        with log.open("wb") as told:
            command = [sys.executable, str(HERE / "drive.py"), name, str(plan), str(result)]
            child = children.spawn(command, env=self.environment(lab), cwd=lab, stdout=told, stderr=told)
            try:
                child.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"not done within {self.seconds} s; it told {tail(log)}") from None
            finally:
                children.stop(child)
        if child.returncode or not result.exists():
            raise RuntimeError(f"exit code {child.returncode}; it told {tail(log)}")
        return json.loads(result.read_text())

    def environment(self, lab):
        """What the peers write into a home goes with the temporary folder."""
        own = {"HOME": lab, "IPYTHONDIR": lab / "ipython", "TMPDIR": lab, "PYTHONPATH": HERE, "PYTHONDONTWRITEBYTECODE": 1}
        # The most that the reference may ask for; the peers' workers run kernels of one thread.
        own |= {"NUMBA_NUM_THREADS": max(self.args.workers, os.cpu_count() or 1)}
        return os.environ | {name: str(value) for name, value in own.items()}

    def fail(self, round_, name, why):
        self.failures.append({"round": round_, "who": name, "why": why})
        say(f"*** {name} FAILED in round {round_ + 1}: {why} ***")

    def facts(self, rounds):
        return {
            "format": FORMAT,
            "command": " ".join(["benches/peers/run", *sys.argv[1:]]),
            "program": self.ours.version,
            "commit": commit(),
            "commands": sorted(set(self.ours.commands)),
            "machine": machine(),
            "python": platform.python_version(),
            "packages": {
                each.name: each.version for each in sorted(importlib.metadata.distributions(), key=lambda each: each.name)
            },
            "missing": self.missing,
            "smoke": self.args.smoke,
            "plan": {name: value for name, value in self.plan.items() if name != "expected"} | {"rounds": rounds},
        }


def options(scene):
    """The scene as options of `fractally`."""
    re, im = scene["c"]
    size = f"{scene['columns']}x{scene['rows']}"
    return ["-c", f"{re!r}{im:+}i", "--size", size, "--width", repr(scene["width"]), "--iter", str(scene["limit"])]


def contenders(only):
    """Whom to measure, and which peers are not installed; the latter is told so that nobody misses it."""
    wanted = only or [OURS, *PEERS]
    missing = [name for name in wanted if any(importlib.util.find_spec(package) is None for package in PEERS.get(name, []))]
    for name in missing:
        print(f"\n*** NOT MEASURED: {name} is not installed; target/peers/setup.log tells why ***\n", file=sys.stderr)
    if missing and os.environ.get("FRACTALLY_PEERS") == "required":
        raise SystemExit(1)
    return [name for name in wanted if name not in missing], missing


def program():
    """Fractally, built now unless FRACTALLY_BIN names a program."""
    if named := os.environ.get("FRACTALLY_BIN"):
        return Path(named).resolve()
    say("building the program")
    root = HERE.parents[1]
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", str(root / "Cargo.toml")]
    if children.spawn(command).wait():
        raise SystemExit("the program cannot be built; FRACTALLY_BIN names one that is built already")
    return Path(os.environ.get("CARGO_TARGET_DIR", root / "target")).resolve() / "release" / "fractally"


def machine():
    """What this is measured on."""
    cpuinfo, meminfo = Path("/proc/cpuinfo").read_text(), Path("/proc/meminfo").read_text()
    processors = [line.split(": ", 1)[1] for line in cpuinfo.splitlines() if line.startswith("model name")]
    memory = next(int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal"))
    return {
        "name": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processors[0] if processors else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
    }


def commit():
    """The commit of this tree, and whether something was changed since; None where there is no git."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def tail(log):
    """The end of what a peer told."""
    return log.read_bytes()[-3000:].decode(errors="replace").strip() or "nothing"


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def say(text):
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def write(directory, run):
    """Both files, each whole or not at all."""
    for name, text in [("run.json", json.dumps(run, indent=1) + "\n"), ("table.md", report.table(run))]:
        unnamed = directory / f".{name}.{os.getpid()}"
        unnamed.write_text(text)
        unnamed.rename(directory / name)


def main():
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    if not os.access(args.output, os.W_OK):
        raise SystemExit(f"--output: {args.output} cannot be written")
    for number_ in SIGNALS:
        signal.signal(number_, lambda number_, _: sys.exit(128 + number_))
    children.adopt_orphans()
    lab = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    try:
        measurement = Measurement(args, lab)
        run = measurement.run()
    except ours.Failed as error:
        raise SystemExit(str(error)) from None
    finally:
        # What comes now must not be cut short; it takes seconds.
        for number_ in SIGNALS:
            signal.signal(number_, signal.SIG_IGN)
        children.end_descendants()
        shutil.rmtree(lab, ignore_errors=True)
    print(report.table(run))
    say(f"{args.output}/run.json and table.md are written")
    if run["failures"]:
        raise SystemExit("something FAILED, as told above and in run.json")


if __name__ == "__main__":
    main()
