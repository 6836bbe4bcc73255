"""The reference: no grid at all. numba's threads in one process, with the kernel that every peer's workers have."""

from scene import whole

NAME = "numba"


class Peer:
    def start(self, workers, lab):
        self.workers = workers

    def first(self):
        pass

    def pictures(self):
        return {"prange": lambda scene, bands: whole(scene, self.workers)}

    def tasks(self):
        return {}

    def round_trips(self):
        return {}

    def stop(self):
        pass
