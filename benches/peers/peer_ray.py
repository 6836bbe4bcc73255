"""Ray: its own daemons and worker processes on this machine, without dashboard, usage statistics and tokens. Large results come
through its shared memory.

Tasks are Ray's unit of scheduling. Actors are faster to call, but the caller deals the work out: measured too, and the better
one counts.
"""

import os
from pathlib import Path

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")

import ray
from scene import Assembly, band, nothing

NAME = "Ray"
# Each assembled picture is 16 MB; Ray wants 75 MB at least.
OBJECT_STORE_BYTES = 256 << 20


class Actor:
    def band(self, index, scene, bands):
        return band(index, scene, bands)

    def nothing(self, index=None):
        return nothing(index)


class Peer:
    def start(self, workers, lab):
        self.workers = workers
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(Path(lab) / "ray"),
        )
        self.band, self.nothing = (ray.remote(num_cpus=1, max_retries=0)(task) for task in (band, nothing))
        self.actors = []

    def first(self):
        return ray.get(self.nothing.remote())

    def _actors(self):
        # Made when they are wanted, so that they cost the start nothing. They take no CPU from the tasks, which wait meanwhile.
        if not self.actors:
            self.actors = [ray.remote(num_cpus=0)(Actor).remote() for _ in range(self.workers)]
        return self.actors

    def pictures(self):
        return {"tasks": self._by_tasks, "actors, a band each at a time and one more waiting": self._by_actors}

    def _by_tasks(self, scene, bands):
        assembly = Assembly(scene, bands)
        refs = [self.band.remote(index, scene, bands) for index in range(bands)]
        for index, ref in enumerate(refs):
            assembly.put(index, ray.get(ref))
        return assembly.complete()

    def _by_actors(self, scene, bands):
        actors, assembly = self._actors(), Assembly(scene, bands)
        asked, given = {}, 0
        waiting = [actor for actor in actors for _ in range(2)]
        while given < bands or asked:
            while waiting and given < bands:
                actor = waiting.pop(0)
                asked[actor.band.remote(given, scene, bands)] = (given, actor)
                given += 1
            for ref in ray.wait(list(asked))[0]:
                index, actor = asked.pop(ref)
                waiting.append(actor)
                assembly.put(index, ray.get(ref))
        return assembly.complete()

    def tasks(self):
        return {"tasks": self._tasks, "calls of actors in turn": self._calls}

    def _tasks(self, count):
        return ray.get([self.nothing.remote(index) for index in range(count)])

    def _calls(self, count):
        actors = self._actors()
        return ray.get([actors[index % len(actors)].nothing.remote(index) for index in range(count)])

    def round_trips(self):
        return {"a task": self.first, "a call of an actor": lambda: ray.get(self._actors()[0].nothing.remote())}

    def stop(self):
        ray.shutdown()
