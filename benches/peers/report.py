"""Makes the tables of a run: `report.py run.json` prints them again. Everything here follows from the run's records.

Where there are several ways to do the same with one peer, the one with the least median counts; all of them are listed below
the tables.
"""

import json
import sys
from statistics import median

from ours import TCP, THREADS, UNIX

REFERENCE = "numba"
# As they are told, and the package whose version tells theirs.
PACKAGES = {"Ray": "ray", "dask.distributed": "distributed", "ipyparallel": "ipyparallel"}
PEERS = list(PACKAGES)


class Found:
    """The samples of one way to measure one thing, of all rounds."""

    def __init__(self, records):
        self.records = records
        self.samples = [sample for record in records for sample in record["samples"]]
        self.median = median(self.samples)

    def time(self):
        """Median, least and most."""
        return " ".join([human(self.median), f"({human(min(self.samples))}–{human(max(self.samples))})"])

    def told(self):
        """The median, and of how many tasks where that was counted."""
        tasks = [record["tasks"] for record in self.records if "tasks" in record]
        return human(self.median) + (f" of {median(tasks):,.0f} tasks" if tasks else "")


def ways(run, who, series, **more):
    """Everything found for these, by way."""
    wanted = {"who": who, "series": series} | more
    found = {}
    for record in run["records"]:
        if record["samples"] and all(record.get(name) == value for name, value in wanted.items()):
            found.setdefault(record["way"], []).append(record)
    return {way: Found(records) for way, records in found.items()}


def altogether(run, who, series, **more):
    """The samples of all ways, None where nothing was found: for what is one thing, however it is called."""
    records = [record for found in ways(run, who, series, **more).values() for record in found.records]
    return Found(records) if records else None


def best(run, who, series, **more):
    """The best way, None where nothing was found."""
    return min(ways(run, who, series, **more).values(), key=lambda found: found.median, default=None)


def efficiency(run, found, form):
    """Time of the reference over that of a picture, for each round: median, least and most."""
    ratios = []
    for record in found.records:
        reference = reference_of(run, record, form)
        if reference:
            ratios.append(median(reference) / median(record["samples"]))
    if not ratios:
        return "–"
    return f"{median(ratios):.0%} ({min(ratios):.0%}–{max(ratios):.0%})"


def reference_of(run, record, form):
    """Samples of the same kernel on threads of one process: Fractally's in the same turn, a peer's just before and after it."""
    is_ours = record["who"] in (TCP, UNIX)
    return [
        sample
        for other in run["records"]
        if other["round"] == record["round"]
        and other["series"] == "picture"
        and other["who"] == (THREADS if is_ours else REFERENCE)
        and ((other["format"], other["bands"]) == (form, record["bands"]) if is_ours else other["slot"] in (record["slot"], record["slot"] + 1))
        for sample in other["samples"]
    ]


def table(run):
    """Markdown."""
    plan, machine = run["plan"], run["machine"]
    load = [f"{loads[0]:.1f}" for loads in (run["load_before"], run["load_after"])]
    parts = [
        f"`{run['command']}`, {run['started'][:10]}, commit {run['commit'] or 'unknown'}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['system']}; Python {run['python']}; load {load[0]} before, {load[1]} after. "
        f"{some(plan['workers'], 'worker')} of one thread, {some(plan['rounds'], 'round')} of {some(plan['runs'], 'picture')} of "
        f"{scene(plan['scene'])}. "
        "Medians (least–most)."
    ]
    if run["smoke"]:
        parts.append("**A smoke run: it shows that all works, and no figure of it means anything.**")
    parts += [told("Not installed, so not measured", run["missing"])] if run["missing"] else []
    parts += [f"**FAILED in round {each['round'] + 1}: {each['who']}**" for each in run["failures"]]
    parts += [side_by_side(run), in_short(run), in_detail(run), how(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def told(what, names):
    return f"**{what}: {', '.join(names)}**"


def scene(scene):
    re, im = scene["c"]
    return f"c = {re}{im:+}i, {scene['columns']}x{scene['rows']}, {scene['limit']} iterations"


def side_by_side(run):
    """All contenders."""
    bands = run["plan"]["bands"]
    head = ["", *[title for count in bands for title in (f"{count} bands", "efficiency")]]
    head += ["no-op task", "tasks/s", "round trip", "start to first result"]
    rows = []
    for who in [UNIX, TCP, *PEERS]:
        if not any(record["who"] == who for record in run["records"]):
            continue
        is_ours = who in (UNIX, TCP)
        row = [who if is_ours else f"{who} {run['packages'][PACKAGES[who]]}"]
        for count in bands:
            row += picture(run, who, count, "counts")
        tasks, trip = best(run, who, "tasks"), best(run, who, "round trip")
        start = best(run, who, "start")
        row += [tasks.time(), f"{1 / tasks.median:,.0f}"] if tasks else ["–", "–"]
        row += [found.time() if found else "–" for found in (trip, start)]
        rows.append(row)
    reference = best(run, REFERENCE, "picture")
    if reference:
        threads = run["plan"]["workers"]
        rows.append([f"the peers' kernel on {threads} threads", reference.time(), *["–"] * (len(head) - 2)])
    return markdown(head, rows)


def in_short(run):
    """How many times fewer microseconds a task without work takes."""
    best_peer = min(((found.median, who) for who in PEERS if (found := best(run, who, "tasks"))), default=None)
    if best_peer is None:
        return ""
    least, peer = best_peer
    told = [f"{who} {least / found.median:.1f}x" for who in (UNIX, TCP) if (found := best(run, who, "tasks"))]
    return f"Fewer µs a no-op task than the best of the others, {peer}: {', '.join(told)}." if told else ""


def picture(run, who, bands, form):
    """Time and efficiency."""
    found = best(run, who, "picture", bands=bands, format=form)
    return [found.time(), efficiency(run, found, form)] if found else ["–", "–"]


def in_detail(run):
    """Fractally alone: counts and PNG, however it was cut."""
    rows = []
    cuts = [(count, f"{count} bands") for count in run["plan"]["bands"]] + [(None, "as it cuts them")]
    cuts = [(who, *cut) for cut in cuts for who in (UNIX, TCP)]
    for who, bands, cut in cuts:
        row = [f"{who}, {cut}", *picture(run, who, bands, "counts"), *picture(run, who, bands, "png")]
        rows.append(row)
    # Its records are called by the bands of the grid beside which it was measured, and have none of their own.
    alone = [altogether(run, THREADS, "picture", format=form) for form in ("counts", "png")]
    times = [found.time() if found else "–" for found in alone]
    rows.append([f"its kernel on {run['plan']['workers']} threads", times[0], "–", times[1], "–"])
    rows = [row for row in rows if any(cell != "–" for cell in row[1:])]
    return markdown(["", "counts", "efficiency", "PNG", "efficiency"], rows) if rows else ""


def how(run):
    """Every way that was measured; of several, the first counts."""
    lines = []
    for who in [UNIX, TCP, *PEERS]:
        tasks = [("tasks", {}, "no-op tasks")]
        pictures = [("picture", {"bands": count}, f"{count} bands") for count in run["plan"]["bands"]]
        things = tasks if who in (UNIX, TCP) else [*pictures, *tasks, ("round trip", {}, "round trip")]
        for series, more, title in things:
            found = sorted(ways(run, who, series, **more).items(), key=lambda each: each[1].median)
            if found:
                lines.append(f"- {who}, {title}: " + "; ".join(f"{way} {each.told()}" for way, each in found))
    return "\n".join(["Ways that were measured, the one that counts first:", "", *lines]) if lines else ""


def some(count, one):
    return f"{count} {one}{'' if count == 1 else 's'}"


def human(seconds):
    """Three digits that mean something."""
    for unit, factor in [("s", 1), ("ms", 1e3), ("µs", 1e6)]:
        value = seconds * factor
        if value >= 1 or unit == "µs":
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
    raise AssertionError("the last unit takes everything")


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(table(json.load(file)), end="")
