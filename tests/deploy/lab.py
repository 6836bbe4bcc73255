"""Starts grids as deploy/ says, and uses them: `FRACTALLY_BIN=... python3 tests/deploy/lab.py`, as root.

Each grid of stacks.py has a network and processes of its own (namespaces), and each of its processes a root of its own, laid
out by the Dockerfile, with the program in it and nothing else, read-only but for what the files say, and run by the image's
user without any right. The command lines, variables, names, ports and probes are used as they stand. So this is what a
container engine would do, short of one.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import stacks
from stacks import PROGRAM, Process, Stack

PATIENCE_S = 40
PR_SET_NO_NEW_PRIVS = 38
# A probe's own time limit is not told from a slow machine's; so much more it may take here.
SLACK_S = 10
PICTURE = "320x200"


class Broken(Exception):
    """Something is not as deploy/ promises."""


def until(what: str, attempt, patience_s: float = PATIENCE_S):
    """Tries until it gives something that counts as true."""
    end = time.monotonic() + patience_s
    while True:
        found = attempt()
        if found:
            return found
        if time.monotonic() > end:
            raise Broken(f"in vain waited {patience_s} s for: {what}")
        time.sleep(0.1)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Lab:
    """One grid in a folder of its own."""

    def __init__(self, folder: Path, stack: Stack, program: Path):
        self.folder, self.stack, self.program = folder, stack, program
        self.image_said = stacks.image()
        self.image = folder / "image"
        self.children: dict[str, subprocess.Popen] = {}
        self.ready: dict[str, list[str]] = {}

    def lay_out(self) -> None:
        """The network, and the image that all roots begin with."""
        run("mount", "--make-rprivate", "/")
        run("ip", "link", "set", "lo", "up")
        names = [f"127.0.0.1 {' '.join(process.host)}" for process in self.stack.processes if process.host]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
        target = self.image / PROGRAM[1:]
        target.parent.mkdir(parents=True)
        shutil.copy(self.program, target)
        for command in self.image_said.layout:
            run("sh", "-ec", command.replace("/image", str(self.image)))
        # What engines bring along, and, for a program that is not linked statically, the libraries that the real image does
        # without.
        for folder in ("proc", "dev", "etc"):
            (self.image / folder).mkdir()
        (self.image / "etc/hosts").touch()
        (self.image / "etc/fractally").mkdir()
        shutil.copy(stacks.ROOT / "docs/fractally.toml", self.image / "etc/fractally")
        libraries = subprocess.run(["ldd", str(self.program)], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", libraries):
            place = self.image / library[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)

    def root(self, process: Process) -> Path:
        """A root for this process: the image, read-only, with what its stack mounts. Made once."""
        root = self.folder / "roots" / process.role
        if root.exists():
            return root
        root.mkdir(parents=True)
        run("mount", "--bind", str(self.image), str(root))
        run("mount", "-o", "remount,bind,ro", str(root))
        run("mount", "--rbind", "/proc", str(root / "proc"))
        run("mount", "--rbind", "/dev", str(root / "dev"))
        run("mount", "--bind", str(self.folder / "hosts"), str(root / "etc/hosts"))
        for path in process.writable:
            self.place(root, path)
            run("mount", "-t", "tmpfs", "-o", "size=16m,mode=1777", "tmpfs", str(root / path[1:]))
        if process.state:
            run("mount", "--bind", str(self.state(process)), str(self.place(root, process.state)))
        return root

    def place(self, root: Path, path: str) -> Path:
        place = root / path[1:]
        if not place.is_dir():
            raise Broken(f"the image has no {path}, where something is to be mounted")
        return place

    def state(self, process: Process) -> Path:
        """What outlives the broker, as it is when it is new: a volume takes its owner from the image, a claim only its group."""
        state = self.folder / "state"
        if not state.exists():
            inside = (self.image / process.state[1:]).stat()
            state.mkdir()
            user, group = self.image_said.user
            match self.stack.name:
                case "compose":
                    os.chown(state, inside.st_uid, inside.st_gid)
                    state.chmod(inside.st_mode & 0o7777)
                case "kubernetes":
                    os.chown(state, 0, group)
                    state.chmod(0o2775)
                case _:
                    os.chown(state, user, group)
                    state.chmod(0o700)
        return state

    def enter(self, process: Process):
        """What a child does before it becomes the program."""
        root, (user, group) = self.root(process), self.image_said.user

        def do() -> None:
            os.chroot(root)
            os.chdir("/")
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

        return do

    def env(self, process: Process) -> dict[str, str]:
        return {"PATH": self.image_said.path} | process.env

    def start(self, process: Process) -> None:
        """Starts it, and waits until it says that it is ready; workers never say so."""
        log = (self.folder / f"{process.role}.log").open("ab")
        child = subprocess.Popen(
            [PROGRAM, *process.args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=self.env(process),
            preexec_fn=self.enter(process),
        )
        self.children[process.role] = child
        if process.role != "worker":
            readable, _, _ = select.select([child.stdout], [], [], PATIENCE_S)
            words = child.stdout.readline().decode().split() if readable else []
            if words[:1] != ["ready"]:
                raise Broken(f"{process.source}: `fractally {' '.join(process.args)}` does not get ready, but says {words}")
            self.ready[process.role] = words[1:]

    def stop(self, process: Process) -> None:
        """Asks it to end, and takes no other answer than that, in time."""
        child = self.children.pop(process.role)
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(process.grace_s)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{process.source}: has not ended {process.grace_s} s after SIGTERM") from error
        if code:
            raise Broken(f"{process.source}: ended with {code} after SIGTERM")

    def inside(self, process: Process, command: list[str], timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess:
        """A command in the place of a process, as a health check or `exec` does it."""
        found = command[0] if command[0].startswith("/") else f"{self.image_said.path}/{command[0]}"
        return subprocess.run(
            [found, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.env(process),
            preexec_fn=self.enter(process),
            timeout=timeout_s,
        )

    def status(self) -> dict:
        broker = self.stack["broker"]
        told = self.inside(broker, ["fractally", "status", "--json"])
        return json.loads(told.stdout) if told.returncode == 0 else {}


def answer(url: str, data: bytes | None = None) -> tuple[int, bytes, dict]:
    """What HTTP says, whatever it is."""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return response.status, response.read(), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)
    except OSError:
        return 0, b"", {}


def probe_commands(lab: Lab, process: Process, wanted: bool) -> None:
    """Its health commands, which must say so when it is well, and otherwise when it is not."""
    for probe in (probe for probe in process.probes if probe.command):

        def says_so() -> bool:
            return (lab.inside(process, probe.command, probe.timeout_s + SLACK_S).returncode == 0) == wanted

        until(f"{process.source}: {probe.command} to {'succeed' if wanted else 'fail'}", says_so)


def use(lab: Lab) -> None:
    """The life of a grid, from its start to the broker's next life."""
    stack = lab.stack
    broker, worker, gateway = (stack[role] for role in stacks.ROLES)
    want = lab.folder / "want.png"
    run(str(lab.program), "render", "--quiet", "--workers", "1", "--size", PICTURE, "-o", str(want))

    lab.root(broker)
    probe_commands(lab, broker, wanted=False)
    lab.start(broker)
    probe_commands(lab, broker, wanted=True)
    lab.start(worker)
    there = until("a worker", lambda: lab.status().get("workers"))
    threads = worker.env.get("FRACTALLY_THREADS")
    if threads and there[0]["threads"] != int(threads):
        raise Broken(f"{worker.source}: asks for {threads} threads and has {there[0]['threads']}")

    lab.start(gateway)
    port = int(lab.ready["gateway"][0].rstrip("/").rsplit(":", 1)[1])
    url = f"http://127.0.0.1:{port}"
    for probe in (probe for probe in gateway.probes if probe.path):
        until(
            f"{gateway.source}: {probe.path} on port {probe.port}",
            lambda: answer(f"http://127.0.0.1:{probe.port}{probe.path}")[0] == 200,
        )
    if any(inside != port for inside in gateway.published.values()):
        raise Broken(f"{gateway.source}: {gateway.published} is published, and it listens on {port}")

    until("the grid to be ready", lambda: answer(f"{url}/readyz")[0] == 200)
    _, _, headers = answer(f"{url}/api/v1/renders", json.dumps({"size": PICTURE}).encode())
    render = url + (headers.get("location") or headers.get("Location") or "/nowhere")
    answer(f"{render}?wait=60&until=done")
    if answer(f"{render}/image")[1] != want.read_bytes():
        raise Broken("the picture is another one than a local grid draws")
    metrics = broker.option("--metrics") or broker.env.get("FRACTALLY_METRICS")
    if metrics and b"fractally_jobs" not in answer(f"http://127.0.0.1:{metrics.rsplit(':', 1)[1]}/metrics")[1]:
        raise Broken(f"{broker.source}: no metrics at {metrics}")

    for process in (gateway, worker, broker):
        lab.stop(process)
    probe_commands(lab, broker, wanted=False)
    lab.start(broker)
    kept = lab.inside(broker, ["fractally", "list", "--json"])
    if kept.returncode or PICTURE.split("x")[0] not in kept.stdout:
        raise Broken(f"{broker.source}: the picture is not kept: {kept.stdout}{kept.stderr}")
    lab.stop(broker)


def main() -> int:
    program = Path(os.environ["FRACTALLY_BIN"]).resolve()
    if len(sys.argv) == 1:
        codes = []
        for stack in stacks.every_stack():
            with tempfile.TemporaryDirectory() as folder:
                os.chmod(folder, 0o755)
                inside = [sys.executable, __file__, stack.name, folder]
                codes.append(
                    subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", *inside])
                )
        return int(any(code.returncode for code in codes))
    name, folder = sys.argv[1:]
    stack = next(stack for stack in stacks.every_stack() if stack.name == name)
    lab = Lab(Path(folder), stack, program)
    try:
        lab.lay_out()
        use(lab)
    except (Broken, subprocess.SubprocessError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        for log in sorted(Path(folder).glob("*.log")):
            print(f"-- {log.stem}", *log.read_text().splitlines()[-15:], sep="\n", file=sys.stderr)
        return 1
    print(f"{name}: rendered, stopped in time, kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
