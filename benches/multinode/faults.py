"""A render while hosts are lost: its file must be the one that this machine renders by itself, byte for byte.

Rows are what the broker says that the client holds (`status --json`), looked at a few times a second.
"""

import dataclasses
import json
import random
import re
import time

from errors import Failure, Usage
from host import quoted

ACCOUNT = "multinode"
LOST, CUT_OFF = "lost", "cut off"
FIRST_SHARE, LAST_SHARE = 0.2, 0.6  # when hosts go, where nothing else is said
TRIES_KEPT = 100
# A broker that does not hear from a worker gives it up after seconds; this is far more.
NOTICE_S = 30


@dataclasses.dataclass
class When:
    """A share of the picture's rows, or seconds since the broker accepted it."""

    share: float | None = None
    seconds: float | None = None

    def has_come(self, seconds, share):
        return share >= self.share if self.share is not None else seconds >= self.seconds

    def __str__(self):
        return f"{self.share:.0%} of the rows" if self.share is not None else f"{self.seconds:g} s"


@dataclasses.dataclass
class Fault:
    """One host, what happens to it, and when."""

    host: object
    how: str
    when: When


def plan(grid, options):
    """Which hosts go, drawn from the seed, and when. The hosts of the broker and of the client stay."""
    hows = [LOST] * options.lose + [CUT_OFF] * options.cut_off
    draw = random.Random(options.seed)
    draw.shuffle(hows)
    staying = {grid.broker_host.name, grid.client_host.name}
    may_go = [host for host in grid.worker_hosts if host.name not in staying]
    if len(hows) > len(may_go) or len(hows) >= len(grid.worker_hosts):
        raise Usage(
            f"--lose and --cut-off: {len(hows)} hosts cannot go: of {len(grid.worker_hosts)} with workers one must stay, "
            "and the hosts of broker and client do"
        )
    times = options.at or [
        When(share=FIRST_SHARE + (LAST_SHARE - FIRST_SHARE) * k / max(len(hows) - 1, 1)) for k in range(len(hows))
    ]
    if len(times) != len(hows):
        raise Usage(f"--at: {len(times)} times for {len(hows)} hosts; give one for each")
    return [Fault(host, how, when) for host, how, when in zip(draw.sample(may_go, len(hows)), hows, times)]


def times(text):
    """The times of `--at`: 5,20%,30."""
    found = []
    for word in text.split(","):
        known = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", word.strip())
        if not known or (known[2] and float(known[1]) >= 100):
            raise Usage(f"--at: {word!r} is neither seconds, as 5, nor a share of the rows below 100, as 20%")
        found.append(When(share=float(known[1]) / 100) if known[2] else When(seconds=float(known[1])))
    return found


def reference(here, picture, time_limit_s, say):
    """The picture, rendered by this machine alone."""
    say(f"the same picture by this machine alone: {' '.join(picture)}")
    render = here.start_watched("reference", [here.program, "render", *picture, "--json", "-q", "-o", "reference.png"])
    try:
        render.began()
        if not render.wait(time_limit_s):
            raise Failure(f"the reference was not rendered within {time_limit_s} s (--time-limit); choose a smaller --picture")
    finally:
        # A local grid goes with the process that started it.
        render.signal("TERM")
        render.wait(10)
    if render.popen.returncode != 0:
        raise Failure(f"the reference: `fractally render` ended with {render.popen.returncode}: {render.why()}")
    told = json.loads(here.read("reference.out"))
    told["sha256"] = here.sha256(f"{here.folder}/reference.png")
    here.run(f"cd {quoted(here.folder)} && rm reference.png")
    say(f"{told['seconds']:.1f} s, {told['bytes']} bytes, SHA-256 {told['sha256']}")
    return {key: told[key] for key in ("sha256", "bytes", "width", "height", "seconds", "iterations", "workers")}


def play(grid, faults, picture, expected, options, record, say):
    """Renders the picture while the faults happen. Fills the record, in which `failures` says what did not hold.

    Gives the client's rows over time.
    """
    watch = Watch(grid, faults, say)
    record |= {
        "seed": options.seed,
        "picture": picture,
        "reference": expected,
        "events": watch.events,
        "failures": ["it was not done"],
    }
    host = grid.client_host
    words = [
        "render",
        "--broker",
        grid.endpoint("clients"),
        "--account",
        ACCOUNT,
        "--json",
        "-q",
        "-o",
        "picture.png",
        *picture,
    ]
    say(
        f"the render, on {len(grid.worker_hosts)} hosts; to go: "
        + ", ".join(f"{fault.host.name} at {fault.when}" for fault in faults)
    )
    told = json.loads(grid.run_client("render", words, options.time_limit, watch.look))
    told["sha256_told"] = told["sha256"]
    told["sha256"] = host.sha256(f"{host.folder}/picture.png")
    told["extra_attempts"] = told["attempts"] - told["bands"]
    host.run(f"cd {quoted(host.folder)} && rm picture.png")
    record |= {
        "render": told,
        "same_bytes": told["sha256"] == expected["sha256"],
        **watch.stillness(told["seconds"]),
        "tries_of_hosts_that_went": tries(grid, told["job"], watch.gone),
        "workers_seen_after": len(seen_at_last(grid, watch.gone)),
    }
    record["failures"] = failures(record, grid, watch, faults)
    say(
        f"{told['seconds']:.1f} s, {told['extra_attempts']} attempts more than bands, rows stood still for "
        f"{record['longest_still_s']} s at the most, {record['longest_still_before_s']} s before anybody went"
    )
    return watch.rows


class Watch:
    """Looks at the render while it runs, and lets the faults happen."""

    def __init__(self, grid, faults, say):
        self.grid, self.left, self.say = grid, list(faults), say
        self.rows = []  # (seconds since the first look, rows that the client holds)
        self.events, self.began_at, self.gone = [], None, set()

    def look(self):
        jobs = [job for job in self.grid.status()["jobs"] if job["account"] == ACCOUNT]
        now = time.monotonic()
        if not jobs:
            return
        job = jobs[0]
        if self.began_at is None:
            self.began_at = now - job["age_ms"] / 1000
        seconds, share = now - self.began_at, job["rows_done"] / job["height"]
        self.rows.append((round(seconds, 3), job["rows_done"]))
        # One at a time, so that each is felt by itself.
        for fault in [fault for fault in self.left if fault.when.has_come(seconds, share)][:1]:
            self.left.remove(fault)
            self.let_happen(fault, job)

    def let_happen(self, fault, job):
        name = fault.host.name
        process = self.grid.workers[name]
        worker = next((worker for worker in self.grid.status()["workers"] if worker["name"] == name), {"leases": 0})
        self.grid.lost.add(name)
        self.gone.add(name)
        if fault.how == LOST:
            process.signal("KILL")
            how = "its processes were killed (SIGKILL)"
        else:
            how = fault.host.cut_off(process)
        at_s = round(time.monotonic() - self.began_at, 3)
        self.events.append(
            {
                "host": name,
                "fault": fault.how,
                "how": how,
                "at_s": at_s,
                "rows": job["rows_done"],
                "of_rows": job["height"],
                "bands_it_held": worker["leases"],
            }
        )
        self.say(
            f"{at_s:.1f} s, {job['rows_done']} of {job['height']} rows: {name} is {fault.how}; it held {worker['leases']} bands"
        )

    def stillness(self, done_s):
        """How long the client's rows stood still: in all, before the first fault, and after each until the next.

        The last of them come when the render is done, which no look sees.
        """
        rises = [0.0]
        for (_, before), (seconds, rows) in zip([(0.0, 0), *self.rows], self.rows):
            if rows > before:
                rises.append(seconds)
        gaps = list(zip(rises, [*rises[1:], max(done_s, rises[-1])]))
        begins = [event["at_s"] for event in self.events]
        for event, until in zip(self.events, [*begins[1:], float("inf")]):
            after = [(max(a, event["at_s"]), b) for a, b in gaps if b >= event["at_s"] and a < until]
            event["until_next_rows_s"] = round(after[0][1] - event["at_s"], 3) if after else None
            event["longest_still_s"] = round(max((b - a for a, b in after), default=0), 3)
        before = [b - a for a, b in gaps if not begins or b <= begins[0]]
        looks = [b[0] - a[0] for a, b in zip(self.rows, self.rows[1:])]
        return {
            "longest_still_s": round(max((b - a for a, b in gaps), default=0), 3),
            "longest_still_before_s": round(max(before, default=0), 3),
            "looked_every_s": round(sorted(looks)[len(looks) // 2], 3) if looks else None,
        }


def tries(grid, job, gone):
    """What became of the bands that the hosts held that went, as the broker tells it."""
    story = grid.status("--job", job)
    of_gone = [one for one in story["tries"] if one["worker"] in gone and one["end"] != "delivered"]
    kept = [
        {key: one[key] for key in ("worker", "first", "strips", "leased_ms", "lasted_us", "end", "why")}
        for one in of_gone[:TRIES_KEPT]
    ]
    return {"count": len(of_gone), "backups": story["backups"], "tries": kept}


def seen_at_last(grid, gone):
    """The workers that the broker still sees, once it has given up those that went, or after patience has ended."""
    deadline = time.monotonic() + NOTICE_S
    while (seen := grid.seen()) & gone and time.monotonic() < deadline:
        time.sleep(0.5)
    return seen


def failures(record, grid, watch, faults):
    """What did not hold."""
    render, expected = record["render"], record["reference"]
    wrong = []
    if render["sha256"] != expected["sha256"]:
        wrong.append(f"the picture differs: SHA-256 {render['sha256']} on the grid, {expected['sha256']} by this machine alone")
    if render["sha256_told"] != render["sha256"]:
        wrong.append(f"`render` told another SHA-256 than the file has: {render['sha256_told']}")
    if watch.left:
        wrong.append(
            f"the picture was done before {', '.join(fault.host.name for fault in watch.left)} went; "
            "choose a larger --picture, or earlier times with --at"
        )
    stay = len(grid.worker_hosts) - len(faults)
    if not watch.left and record["workers_seen_after"] != stay:
        wrong.append(
            f"the broker sees {record['workers_seen_after']} workers afterwards, and {stay} stayed: the faults were not felt"
        )
    if faults and not watch.left and all(event["bands_it_held"] == 0 for event in record["events"]):
        wrong.append("no host that went held a band: nothing was tried; choose a larger --picture, or other times with --at")
    return wrong
