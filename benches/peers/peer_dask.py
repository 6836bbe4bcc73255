"""dask.distributed: a scheduler and worker processes of one thread, over TCP on the loopback, without its dashboard.

Each measurement is taken with its scheduler's two ways of handing out tasks: at most two to a worker, the others waiting at the
scheduler (the default), or all of them at once, and stolen back when a worker is idle.
"""

from functools import partial
from pathlib import Path

import dask
from distributed import Client, LocalCluster, as_completed
from scene import Assembly, band, nothing

NAME = "dask.distributed"
WAYS = {"tasks wait at the scheduler": 1.1, "tasks wait at the workers": float("inf")}


def set_saturation(saturation, dask_scheduler):
    dask_scheduler.WORKER_SATURATION = saturation


class Peer:
    def start(self, workers, lab):
        dask.config.set({"temporary-directory": str(Path(lab) / "dask"), "distributed.comm.timeouts.connect": "30s"})
        self.cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="ERROR",
        )
        self.client = Client(self.cluster)

    def first(self):
        return self.client.submit(nothing, pure=False).result()

    def pictures(self):
        return {f"map, {way}": partial(self._picture, saturation) for way, saturation in WAYS.items()}

    def _picture(self, saturation, scene, bands):
        self._saturate(saturation)
        assembly = Assembly(scene, bands)
        futures = self.client.map(band, range(bands), scene=scene, bands=bands, pure=False)
        index_of = {future.key: index for index, future in enumerate(futures)}
        for future, counts in as_completed(futures, with_results=True):
            assembly.put(index_of[future.key], counts)
        return assembly.complete()

    def tasks(self):
        return {f"map in batches of 500, {way}": partial(self._tasks, saturation) for way, saturation in WAYS.items()}

    def _tasks(self, saturation, count):
        self._saturate(saturation)
        return self.client.gather(self.client.map(nothing, range(count), pure=False, batch_size=500))

    def round_trips(self):
        return {"submit": self.first}

    def _saturate(self, saturation):
        # The way changes in the run that warms up, so no measurement pays for it.
        if getattr(self, "saturation", None) != saturation:
            self.client.run_on_scheduler(set_saturation, saturation)
            self.saturation = saturation

    def stop(self):
        if hasattr(self, "client"):
            self.client.close(timeout=5)
        if hasattr(self, "cluster"):
            self.cluster.close(timeout=10)
