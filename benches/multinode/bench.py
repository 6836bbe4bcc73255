"""All that is known here of `fractally bench`: its series, its options, its records."""

import json
import subprocess

from errors import Failure, Usage
from host import environment

WITH_WORK = ("strong", "weak", "latency", "payload")
WITHOUT_WORK = ("overhead",)  # its broker and workers have --no-op
SERIES = WITH_WORK + WITHOUT_WORK
FORMAT = 1


def needed(program):
    """Says so where the program cannot measure."""
    if here([program, "bench", "--help"], 30).returncode != 0:
        raise Usage(
            f"{program} has no `bench`; build the current one with `cargo build --release`, or choose another by --binary"
        )


def measure(grid, series, size, options):
    """One call for these series on the grid as it is. Gives the record as text, which was looked at."""
    name = f"bench-{'overhead-' if series == list(WITHOUT_WORK) else ''}{size:03}"
    words = ["bench", *series, "--broker", grid.endpoint("clients"), "--json", f"{name}.json", *options.bench]
    grid.run_client(name, words, options.time_limit)
    text = grid.client_host.read(f"{name}.json").decode()
    looked_at(text, series, name)
    return name, text


def looked_at(text, series, name):
    try:
        record = json.loads(text)
        measured = {one["series"] for one in record["records"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{name}: the record of `fractally bench` cannot be read: {error!r}") from None
    if record.get("format") != FORMAT:
        raise Failure(f"{name}: the record has format {record.get('format')}, and {FORMAT} is known here")
    missing = [one for one in series if one not in measured]
    if missing:
        raise Failure(f"{name}: `fractally bench` measured no {', '.join(missing)}")


def report(program, files, folder):
    """Puts records together: bench.json, bench.csv, bench.html in the folder. Gives the table as text."""
    words = [program, "bench", "report", *files]
    for ending in ("json", "csv", "html"):
        words += [f"--{ending}", f"{folder}/bench.{ending}"]
    done = here(words, 120)
    if done.returncode != 0:
        raise Failure(f"`fractally bench report` ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def here(words, timeout_s):
    """Runs the program on this machine."""
    try:
        return subprocess.run(
            words, capture_output=True, text=True, env=environment(), timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"`fractally {words[1]}` was not done within {timeout_s} s on this machine") from None
