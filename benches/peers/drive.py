"""Measures one peer, in a process of its own: `drive.py PEER PLAN RESULT`. See measure.py, which starts it and says what to
measure.

Starts the peer's cluster, takes every measurement of the plan, compares every picture with the expected one, stops the cluster,
and writes the records to RESULT. Asked to stop (SIGTERM), or left alone by its parent, it stops the cluster first.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from children import die_with_parent
from scene import Scene

# No-op tasks that tell how many there is time for.
TASKS_TRIED = 100


class Driver:
    def __init__(self, module, plan):
        self.plan, self.name = plan, module.NAME
        self.peer = module.Peer()
        self.scene = Scene(**plan["scene"] | {"c": complex(*plan["scene"]["c"])})
        self.expected = np.load(plan["expected"], mmap_mode="r")
        self.records = []

    def measure(self):
        self.peer.start(self.plan["workers"], self.plan["lab"])
        if self.peer.first() is not None:
            # The monotonic clock is one for all processes; it was read before this one was started.
            self._record("start", "from the start of the process", [time.monotonic() - self.plan["spawned"]], "s")
        for bands in self.plan["bands"]:
            for way, picture in self.peer.pictures().items():
                self._pictures(way, picture, bands)
        for way, tasks in self.peer.tasks().items():
            self._tasks(way, tasks)
        for way, round_trip in self.peer.round_trips().items():
            self._round_trips(way, round_trip)

    def _pictures(self, way, picture, bands):
        samples = []
        # The first loads kernels into the workers and makes connections.
        for run in range(self.plan["runs"] + 1):
            started = time.perf_counter()
            counts = picture(self.scene, bands)
            seconds = time.perf_counter() - started
            if counts.shape != self.expected.shape or not np.array_equal(counts, self.expected):
                raise AssertionError(f"{self.name}, {way}, {bands} bands: the counts are not Fractally's")
            if run:
                samples.append(seconds)
            del counts
        self._record("picture", way, samples, "s", bands=bands, format="counts")

    def _tasks(self, way, tasks):
        self._timed(tasks, TASKS_TRIED)
        seconds = self._timed(tasks, TASKS_TRIED)
        in_time = int(self.plan["tasks_seconds"] / seconds * TASKS_TRIED)
        count = min(self.plan["tasks"], max(TASKS_TRIED, in_time))
        self._record("tasks", way, [self._timed(tasks, count) / count], "s/task", tasks=count)

    @staticmethod
    def _timed(tasks, count):
        started = time.perf_counter()
        results = tasks(count)
        seconds = time.perf_counter() - started
        if len(results) != count or any(result != b"\0" for result in results):
            raise AssertionError(f"{len(results)} results of {count} tasks, or wrong ones")
        return seconds

    def _round_trips(self, way, round_trip):
        samples = []
        for run in range(self.plan["round_trips"] + 3):
            started = time.perf_counter()
            round_trip()
            if run >= 3:
                samples.append(time.perf_counter() - started)
        self._record("round trip", way, samples, "s")

    def _record(self, series, way, samples, unit, **more):
        self.records.append({"who": self.name, "series": series, "way": way, "unit": unit, "samples": samples} | more)


def main():
    peer, plan, result = sys.argv[1:]
    die_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    driver = Driver(importlib.import_module(f"peer_{peer}"), json.loads(Path(plan).read_text()))
    try:
        driver.measure()
    finally:
        driver.peer.stop()
    # Written last, and whole: who reads it knows that all went well.
    unnamed = Path(f"{result}.{os.getpid()}")
    unnamed.write_text(json.dumps(driver.records))
    unnamed.rename(result)


if __name__ == "__main__":
    main()
