"""ipyparallel: a controller and engines, ZeroMQ over TCP on the loopback.

The load-balanced view is its scheduler. Asking engines directly, in turn, saves that: measured too for tasks without work, and
the better one counts.
"""

import ipyparallel
from scene import Assembly, band, nothing

NAME = "ipyparallel"
START_SECONDS = 90


class Peer:
    def start(self, workers, lab):
        self.cluster = ipyparallel.Cluster(n=workers, engines="local", log_level=40)
        self.cluster.start_cluster_sync()
        self.client = self.cluster.connect_client_sync()
        self.client.wait_for_engines(workers, timeout=START_SECONDS, interactive=False)
        self.view = self.client.load_balanced_view()
        self.engines = [self.client[index] for index in self.client.ids]

    def first(self):
        return self.view.apply_sync(nothing)

    def pictures(self):
        return {"load-balanced map, a task a band": self._picture}

    def _picture(self, scene, bands):
        assembly = Assembly(scene, bands)
        made = self.view.map_async(band, range(bands), [scene] * bands, [bands] * bands, chunksize=1)
        for index, counts in enumerate(made):
            assembly.put(index, counts)
        return assembly.complete()

    def tasks(self):
        return {"load-balanced map, a task each": self._tasks, "engines asked in turn": self._in_turn}

    def _tasks(self, count):
        return self._forget(self.view.map_sync(nothing, range(count), chunksize=1))

    def _in_turn(self, count):
        engines = self.engines
        made = [engines[index % len(engines)].apply_async(nothing, index) for index in range(count)]
        return self._forget([each.get() for each in made])

    def _forget(self, results):
        # What the client keeps of every task would make each measurement slower than the one before.
        self.client.purge_local_results("all")
        return results

    def round_trips(self):
        return {"load-balanced": self.first, "an engine asked directly": lambda: self.engines[0].apply_sync(nothing)}

    def stop(self):
        if hasattr(self, "cluster"):
            self.cluster.stop_cluster_sync()
