"""What is kept of a run: a folder with raw records, logs, what was run where, and a page that tells the figures."""

import datetime
import itertools
import json
import os
import re
import shlex
import sys

from errors import Failure

FORMAT = 1


class Record:
    """What is known so far, and the folder for it once something is measured. `write` is called at the end, however that is."""

    def __init__(self, words):
        self.folder = None
        self.began = datetime.datetime.now(datetime.timezone.utc)
        self.lines, self.bench_files, self.table, self.rows = [], [], "", []
        self.known = {
            "format": FORMAT,
            "command": shlex.join(["benches/multinode/run", *words]),
            "started": stamp(self.began),
            "hosts": [],
            "sizes": [],
            "series": [],
            "faults": None,
        }

    def say(self, text):
        """A line for whoever waits, and for the run's log."""
        now = datetime.datetime.now(datetime.timezone.utc)
        for line in text.splitlines():
            self.lines.append(f"{now:%H:%M:%S}  {line}")
            print(self.lines[-1], file=sys.stderr, flush=True)

    def keep(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def keep_bench(self, name, text):
        self.bench_files.append(self.keep(f"bench/{name}.json", text))

    def keep_logs(self, host, last_bytes):
        """The end of each log of a host."""
        for name, log in host.logs(last_bytes) if self.folder else []:
            self.keep(f"logs/{safe(host.name)}-{safe(name)}", log)

    def write(self):
        self.known["ended"] = stamp(datetime.datetime.now(datetime.timezone.utc))
        self.keep("run.json", json.dumps(self.known, indent=1) + "\n")
        self.keep("run.log", "\n".join(self.lines) + "\n")
        if self.rows:
            self.keep("faults/rows.csv", "seconds,rows\n" + "".join(f"{seconds},{rows}\n" for seconds, rows in self.rows))
        self.keep("README.md", self.page())

    def page(self):
        known = self.known
        parts = [
            f"# {known.get('title', 'A run')}\n",
            f"{known['started']} to {known['ended']}. Outcome: {known.get('outcome', 'unknown')}\n",
            f"    {known['command']}\n",
            hosts_table(known["hosts"]),
        ]
        if known.get("network"):
            parts.append(f"{known['network']}\n")
        if self.table.strip():
            parts.append("## Figures\n\n" + "".join(f"    {line}".rstrip() + "\n" for line in self.table.strip().splitlines()))
        if known["faults"]:
            parts.append(faults_part(known["faults"]))
        parts.append(
            "Raw: `run.json`, `run.log`, `bench/`, `faults/`, `logs/` (their ends), as far as there was something to keep.\n"
        )
        return "\n".join(parts)


def hosts_table(hosts):
    rows = ["| host | role | system | processor | cores | memory | kernel | threads |", "|---|---|---|---|---|---|---|---|"]

    def cells(host):
        role = ", ".join(host["roles"]) or host.get("missing", "-")
        return (
            role,
            host.get("system", "-"),
            host.get("processor", "-"),
            str(host.get("cores", "-")),
            gib(host.get("memory_bytes")),
            host.get("kernel", "-"),
            str(host.get("threads") or "one a core"),
        )

    for alike, group in itertools.groupby(hosts, cells):
        names = [host["name"] for host in group]
        name = f"{names[0]} to {names[-1]} ({len(names)})" if len(names) > 2 else ", ".join(names)
        rows.append(f"| {name} | {' | '.join(alike)} |")
    return "\n".join(rows) + "\n"


def faults_part(faults):
    lines = ["## A render while hosts went\n", f"    fractally render {shlex.join(faults['picture'])}\n"]
    render, expected = faults.get("render"), faults["reference"]
    if render:
        same = "the same" if faults["same_bytes"] else f"NOT the same as {expected['sha256']}"
        lines.append(
            f"SHA-256 {render['sha256']}: {same}, byte for byte, as by one machine alone ({expected['seconds']:.1f} s). "
            f"{render['seconds']:.1f} s on the grid; {render['bands']} bands in {render['attempts']} attempts. "
            f"The client's rows stood still for "
            f"{faults['longest_still_s']} s at the most, for {faults['longest_still_before_s']} s before anybody went "
            f"(looked at every {faults['looked_every_s']} s).\n"
        )
    lines += [
        "| at | rows | host | what | bands it held | next rows after | longest still until the next |",
        "|---|---|---|---|---|---|---|",
    ]
    for event in faults["events"]:
        after = [seconds(event.get("until_next_rows_s")), seconds(event.get("longest_still_s"))]
        lines.append(
            f"| {event['at_s']} s | {event['rows']} of {event['of_rows']} | {event['host']} | {event['fault']}: {event['how']} | "
            f"{event['bands_it_held']} | {after[0]} | {after[1]} |"
        )
    lines += [""] + [f"**{failure}**\n" for failure in faults["failures"]]
    return "\n".join(lines)


def new_folder(runs, machine):
    """benches/runs/DATE-MACHINE, with a number where there is one already."""
    name = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}-{safe(machine)}"
    for number in range(1, 1000):
        path = os.path.join(runs, name if number == 1 else f"{name}-{number}")
        try:
            os.makedirs(path)
            return path
        except FileExistsError:
            continue
    raise Failure(f"{runs} has a thousand runs of {name}; name another folder with --output")


def safe(text):
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "machine"


def stamp(time):
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def seconds(value):
    return "-" if value is None else f"{value:.2f} s"


def gib(number):
    return f"{number / (1 << 30):.0f} GiB" if number else "-"
