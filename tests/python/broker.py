"""The client and the worker of examples/python against a real broker, native workers and the native client beside them.

Every test has a broker of its own on free ports. What is waited for is a condition, with a deadline that only a hang reaches; every
process is ended by its id.
"""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from grid import Command, Connection, Rejected
from vectors import VECTORS, frames_of

PROGRAM = os.environ["FRACTALLY_BIN"]
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"
DEADLINE_S = 180

# Some 10^9 iterations, so seconds of numpy's time, in many bands; the second is its own half-turn, which is leased in pairs.
LONG = {"c": (-0.123, 0.745), "center": (0.05, 0.0), "width": 3.2, "size": "900x700", "iter": 8000}
LONG_MIRRORED = dict(LONG, center=(0.0, 0.0))


def native(scene):
    """The options of `fractally render` for a scene."""
    c, center = (f"{re}{im:+}i" for re, im in (scene["c"], scene["center"]))
    return ["-c", c, "--center", center, "--width", str(scene["width"]), "--size", scene["size"], "--iter", str(scene["iter"])]


def python(scene):
    """The same for client.py."""
    numbers = {"-c": scene["c"], "--center": scene["center"], "--width": [scene["width"]], "--iter": [scene["iter"]]}
    return [text for name, values in numbers.items() for text in (name, *map(str, values))] + ["--size", scene["size"]]


class Grid(unittest.TestCase):
    def setUp(self):
        self.lab = pathlib.Path(tempfile.mkdtemp(prefix="fractally-python-"))
        self.addCleanup(shutil.rmtree, self.lab, ignore_errors=True)
        self.names, self.ports = 0, ("0", "0")
        self.broker = self.start_broker()

    def start(self, *command, stdout=subprocess.DEVNULL):
        """Starts a process that ends with the test. What it says on stderr is told by `said`."""
        self.names += 1
        log = self.lab / f"{self.names}.log"
        with open(log, "wb") as stderr:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        process.log = log
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def said(self, process):
        return process.log.read_text(errors="replace")

    def start_broker(self):
        """On free ports at first, later on those that it had."""
        broker = self.start(PROGRAM, "broker", "--client-port", self.ports[0], "--worker-port", self.ports[1],
                            stdout=subprocess.PIPE)
        readable, _, _ = select.select([broker.stdout], [], [], DEADLINE_S)
        words = broker.stdout.readline().decode().split() if readable else []
        self.assertEqual(words[:1], ["ready"], self.said(broker))
        _, self.clients, self.workers = words
        self.ports = tuple(endpoint.rsplit(":", 1)[1] for endpoint in words[1:])
        return broker

    def python_worker(self, name="python"):
        return self.start(sys.executable, EXAMPLES / "worker.py", "--broker", self.workers, "--name", name)

    def native_worker(self, name="native"):
        return self.start(PROGRAM, "worker", "--broker", self.workers, "--threads", "1", "--name", name)

    def client(self, output, *options):
        return self.start(sys.executable, EXAMPLES / "client.py", "--broker", self.clients, "-o", output, *options)

    def wait(self, what, condition):
        """Asks until the answer is yes."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {DEADLINE_S} s; the broker said\n{self.said(self.broker)[-4000:]}")

    def ends(self, process, code=0):
        self.wait("a process ends", lambda: process.poll() is not None)
        self.assertEqual(process.returncode, code, self.said(process) + self.said(self.broker)[-4000:])

    def ask(self, *options):
        answer = subprocess.run([PROGRAM, "status", "--broker", self.clients, "--json", *options], capture_output=True,
                                timeout=DEADLINE_S, check=False)
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def worker(self, name):
        """What the broker says of a worker; None where it is not there."""
        status = self.ask() or {"workers": []}
        return next((worker for worker in status["workers"] if worker["name"] == name), None)

    def job(self):
        """What the broker says of the only job; None where there is none."""
        return next(iter((self.ask() or {"jobs": []})["jobs"]), None)

    def wait_for_rows(self, name):
        """Until a job is well under way: a worker has delivered, holds more, and the client has acknowledged some."""
        def is_under_way():
            job, worker = self.job(), self.worker(name)
            return bool(job and worker and worker["bands_done"] and worker["leases"] and 0 < job["rows_done"] < job["height"])
        self.wait("rows of the job", is_under_way)

    def story(self, client):
        """What happened to the bands of the client's last job, as (worker, end, why) of each try."""
        jobs = [line.split()[1] for line in self.said(client).splitlines() if line.startswith("job ")]
        return [(told["worker"], told["end"], told["why"]) for told in self.ask("--job", jobs[-1])["tries"]]

    def delivered(self, client):
        return {worker for worker, end, _ in self.story(client) if end == "delivered"}

    def rendered(self, scene, ending):
        """The bytes that `fractally render` makes of a scene, by itself."""
        output = self.lab / f"expected.{ending}"
        done = subprocess.run([PROGRAM, "render", *native(scene), "--workers", "1", "--quiet", "-o", output], timeout=DEADLINE_S,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return output.read_bytes()

    def check(self, output, scene):
        got, expected = output.read_bytes(), self.rendered(scene, output.suffix[1:])
        self.assertEqual(len(got), len(expected))
        self.assertTrue(got == expected, f"{output.name} differs from what `fractally render` makes")
        self.assertEqual(list(self.lab.glob("*.part")), [], "a partial file was left")

    # The client

    def test_a_png_is_that_of_the_native_client(self):
        """Among them one of more strips than go without acknowledgement, and one of a single pixel."""
        self.native_worker()
        for size in ("1x1", "3x5000", "641x479", "3000x2500"):
            scene, output = dict(LONG_MIRRORED, size=size, iter=300), self.lab / f"{size}.png"
            self.ends(self.client(output, *python(scene)))
            self.check(output, scene)

    def test_what_cannot_be_is_told_and_leaves_files_alone(self):
        output = self.lab / "kept.png"
        output.write_bytes(b"here before")
        for options, code, words in [
            (["--bailout", "1.5"], 1, ["bailout", "1.5", "from 2 to 1e9"]),
            (["--center", "1", "0", "--width", "1e-14"], 1, ["width", "double precision"]),
            (["--size", "1000001x1"], 1, ["size", "1000000x1000000"]),
            (["--size", "1920"], 2, ["--size", "1920x1080"]),
            (["--iter", "0"], 1, ["iterations", "1000000000"]),
            (["--cmap", "green"], 1, ["green", "inferno"]),
        ]:
            client = self.client(output, *options)
            self.ends(client, code)
            for word in words:
                self.assertIn(word, self.said(client))
            self.assertNotIn("Traceback", self.said(client))
        self.assertEqual(output.read_bytes(), b"here before")
        self.assertEqual(list(self.lab.glob("*.part")), [])

    def test_a_client_without_a_broker_says_so(self):
        self.end(self.broker)
        client = self.client(self.lab / "none.png")
        self.ends(client, 1)
        self.assertIn(self.clients, self.said(client))
        self.assertEqual(list(self.lab.glob("none.png*")), [])

    def test_ctrl_c_cancels_the_job_and_leaves_no_file(self):
        self.python_worker()
        client = self.client(self.lab / "x.npy", "--npy", *python(LONG))
        self.wait_for_rows("python")
        client.send_signal(signal.SIGINT)
        self.ends(client, 130)
        self.wait("the job is over", lambda: self.ask()["broker"]["jobs_lost"] == 1)
        self.assertEqual(list(self.lab.glob("x.npy*")), [])

    # The vectors

    def welcomed(self):
        """A connection of a client that the broker has let in."""
        grid = Connection(self.clients, {"agent": "vectors", "epoch": 1})
        self.addCleanup(grid.__exit__)
        self.wait("WELCOME", lambda: grid.turn(0.1) and grid.welcome)
        return grid

    def test_malformed_messages_cost_the_connection(self):
        for vector in VECTORS["malformed"]:
            with self.subTest(vector["why"]):
                frames, grid = frames_of(vector["frames"]), self.welcomed()
                if not frames:
                    continue  # which no socket can send
                grid.socket.send_multipart(frames)
                with self.assertRaisesRegex(Rejected, f"says {vector['code']}:"):
                    self.wait("ERROR", lambda: grid.turn(0.1) and False)

    def test_requests_that_cannot_be_are_refused_and_the_field_is_named(self):
        grid, answers = self.welcomed(), []
        for number, vector in enumerate(VECTORS["refused"]):
            grid.send(Command.SUBMIT, {"key": number.to_bytes(16, "big"), "window_bytes": 1 << 24, "request": vector["request"]})
        self.wait("answers", lambda: answers.extend(grid.turn(0.1)) or len(answers) == len(VECTORS["refused"]))
        for vector, (command, header, _) in zip(VECTORS["refused"], answers):
            with self.subTest(vector["why"]):
                self.assertEqual(command, Command.REFUSED)
                self.assertEqual((header["refusal"]["code"], header["refusal"]["field"]), (vector["code"], vector["field"]))

    # The worker

    def test_a_python_worker_alone_gives_the_same_bits(self):
        worker = self.python_worker()
        for number, scene in enumerate([
            dict(LONG_MIRRORED, size="500x333", iter=500),
            dict(LONG_MIRRORED, size="1x700", iter=500),
            dict(LONG, size="333x500", iter=500, c=(-0.8, 0.156)),
            dict(LONG, size="20001x9", iter=500),
            dict(LONG, size="300x200", center=(-0.9055312515274325, 0.4032451150511244), width=1e-12, c=(-0.8, 0.156)),
        ]):
            output = self.lab / f"{number}.npy"
            client = self.client(output, "--npy", *python(scene))
            self.ends(client)
            self.assertEqual(self.delivered(client), {"python"})
            self.check(output, scene)
        self.assertIsNone(worker.poll(), self.said(worker))
        self.assertEqual(self.said(self.broker).count("worker joined"), 1, "it was never taken for dead")

    def test_a_worker_that_computes_one_band_for_long_is_not_taken_for_dead(self):
        """One band of 10^9 iterations and more that no pixel escapes from: it takes longer than a broker waits for a silent peer."""
        self.python_worker()
        scene = {"c": (-0.1, 0.1), "center": (0.0, 0.01), "width": 0.5, "size": "64x64", "iter": 600_000}
        output = self.lab / "one.npy"
        began = time.monotonic()
        client = self.client(output, "--npy", *python(scene))
        self.ends(client)
        self.assertGreater(time.monotonic() - began, 4, "it was too quick to show anything")
        self.assertEqual([end for _, end, _ in self.story(client)], ["delivered"])
        self.assertEqual(self.said(self.broker).count("worker joined"), 1)
        self.check(output, scene)

    def test_one_picture_by_python_and_native_workers(self):
        self.python_worker()
        for scene in (LONG, LONG_MIRRORED):
            output = self.lab / "both.npy"
            client = self.client(output, "--npy", *python(scene))
            self.wait_for_rows("python")
            native = self.native_worker()
            self.ends(client)
            self.assertEqual(self.delivered(client), {"python", "native"})
            self.check(output, scene)
            native.send_signal(signal.SIGTERM)
            self.ends(native)
            output.unlink()

    def test_a_worker_that_is_asked_to_stop_hands_back_what_it_has_not_begun(self):
        worker = self.python_worker()
        output = self.lab / "handed-back.npy"
        client = self.client(output, "--npy", *python(LONG))
        self.wait_for_rows("python")
        worker.send_signal(signal.SIGTERM)
        self.ends(worker)
        self.native_worker()
        self.ends(client)
        self.assertEqual(self.delivered(client), {"python", "native"})
        self.assertEqual([told for told in self.story(client) if told[1] == "failed"], [])
        self.assertIn("said goodbye", self.said(self.broker))
        self.check(output, LONG)

    def test_a_worker_that_is_killed_loses_nothing(self):
        worker = self.python_worker()
        output = self.lab / "killed.npy"
        client = self.client(output, "--npy", *python(LONG_MIRRORED))
        self.wait_for_rows("python")
        worker.kill()
        self.wait("the broker knows", lambda: self.worker("python") is None)
        self.python_worker("another")
        self.wait("another has begun", lambda: (self.worker("another") or {"bands_done": 0})["bands_done"])
        self.native_worker()
        self.ends(client)
        self.assertEqual(self.delivered(client), {"python", "another", "native"})
        self.check(output, LONG_MIRRORED)

    def test_a_broker_that_was_killed_finds_both_again(self):
        worker = self.python_worker()
        output = self.lab / "resumed.npy"
        client = self.client(output, "--npy", *python(LONG))
        self.wait_for_rows("python")
        self.end(self.broker)
        self.broker = self.start_broker()
        self.ends(client)
        self.assertEqual(self.delivered(client), {"python"})
        self.check(output, LONG)
        self.assertIsNone(worker.poll(), self.said(worker))
        accepted = [line for line in self.said(self.broker).splitlines() if "job accepted" in line]
        self.assertEqual(len(accepted), 1, accepted)
        self.assertRegex(accepted[0], r"have=[1-9]", "it began at the first row again")
        worker.send_signal(signal.SIGTERM)
        self.ends(worker)


if __name__ == "__main__":
    unittest.main()
