"""What the tests share: a run that is driven and watched, an sshd of our own, and what may be missing on a machine.

Conditions are waited for, with a deadline; nothing sleeps and hopes.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
RUN = os.path.join(ROOT, "benches", "multinode", "run")
PROGRAM = os.environ.get("FRACTALLY_MULTINODE_PROGRAM", os.path.join(ROOT, "target", "debug", "fractally"))
PATIENCE_S = 60
VIEW = "-c -0.75 --center 0.05i --width 3"  # without a mirror image, whose rows would come all at once
# Some eight seconds of a core, in 47 strips that cost alike, as no kernel can spare an iteration in that Siegel disk: hosts that are to go
# during the first tenth of it do, however fast a machine is. And far more than anybody waits for.
DISK = "-c -0.390540870218399-0.586787907346969i --center -0.368684439-0.337745147i --width 0.2"
PICTURE = f"{DISK} --size 2000x2000 --iter 16000"
COLOURFUL = f"{VIEW} --size 6000x3000 --iter 800"
LONG_PICTURE = f"{VIEW} --size 6000x3000 --iter 200000"
SMALL = "-c -0.75 --size 300x200"

sys.path.insert(0, os.path.dirname(RUN))
os.environ["PATH"] += ":/usr/sbin:/sbin"


def missing(what):
    """This machine lacks what a test needs: loud, and a failure where it is required."""
    if os.environ.get("FRACTALLY_MULTINODE") == "required":
        raise AssertionError(f"FRACTALLY_MULTINODE=required, but {what}")
    print(f"\n*** NOT TESTED: {what} ***\n", file=sys.stderr)
    raise unittest.SkipTest(what)


def need_namespaces():
    if os.geteuid() != 0:
        missing("network namespaces need root")
    if not shutil.which("ip") or not shutil.which("tc"):
        missing("network namespaces need iproute2")
    name = f"fractally-trial-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        missing(f"there are no network namespaces here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", name], check=True)


def need_sshd():
    for program in ("sshd", "ssh", "ssh-keygen"):
        if not shutil.which(program):
            missing(f"there is no {program} (Debian: apt install openssh-server)")


def eventually(what, condition, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def namespaces_of(pid):
    """The namespaces that a driver made."""
    folder = "/run/netns"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if name.startswith(f"fractally-multinode-{pid}-")]


def processes_of(pid):
    """The processes that carry the mark of a driver's run, and what they are."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry}/environ", "rb") as file:
                words = file.read().split(b"\0")
            if any(word.startswith(b"FRACTALLY_MULTINODE_RUN=") and f"-{pid}-".encode() in word for word in words):
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found.append((int(entry), file.read().replace(b"\0", b" ").decode().strip()))
    return found


class Driving:
    """A driver that runs. Its stderr is read all the time; its record goes to a folder that is removed in the end."""

    def __init__(self, *words, program=PROGRAM, is_default=True):
        self.lab = tempfile.mkdtemp(prefix="multinode-test-")
        self.output = os.path.join(self.lab, "out")
        more = ["--binary", program, "--output", self.output] if is_default else []
        self.popen = subprocess.Popen(
            [RUN, *words, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid, self.stdout, self.stderr = self.popen.pid, "", ""
        self.readers = [threading.Thread(target=self.read, args=(name,), daemon=True) for name in ("stdout", "stderr")]
        for reader in self.readers:
            reader.start()

    def read(self, name):
        for line in getattr(self.popen, name):
            setattr(self, name, getattr(self, name) + line)
        getattr(self.popen, name).close()

    def until(self, what, condition):
        """Waits for a condition, but not for longer than the driver lives."""

        def is_met():
            if condition():
                return True
            assert self.popen.poll() is None, f"it ended with {self.code()}, and not yet: {what}\n{self.stderr}"
            return False

        eventually(what, is_met)

    def until_said(self, text):
        self.until(f"it says {text!r}", lambda: text in self.stderr)

    def until_it_runs(self, text):
        self.until(f"a process of it runs {text!r}", lambda: any(text in command for _, command in processes_of(self.pid)))

    def interrupt(self):
        """What a terminal sends to the driver and all its group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def code(self):
        """How it ended, once it has."""
        self.popen.wait(2 * PATIENCE_S)
        for reader in self.readers:
            reader.join()
        return self.popen.returncode

    def kept(self, name="run.json"):
        with open(os.path.join(self.output, name), encoding="utf-8") as file:
            return json.load(file) if name.endswith(".json") else file.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.lab, ignore_errors=True)


class Case(unittest.TestCase):
    """A test whose drivers must leave nothing."""

    def nothing_is_left_of(self, driving):
        self.assertEqual(processes_of(driving.pid), [])
        self.assertEqual(namespaces_of(driving.pid), [])
        self.assertEqual([name for name in os.listdir("/tmp") if name.startswith(f"fractally-multinode-{driving.pid}-")], [])

    def ends_with(self, code, driving):
        self.assertEqual(driving.code(), code, f"{driving.stderr}\n{driving.stdout}")


class Sshd:
    """An sshd on the loopback with keys of its own, for whoever runs this. Nothing of the machine's configuration is used."""

    def __init__(self, lab):
        self.lab = lab
        self.user_key, self.host_key = self.key("user"), self.key("host")
        self.port = free_port()
        self.config = self.file(
            "client.conf",
            f"Host *\nIdentityFile {self.user_key}\nIdentitiesOnly yes\nStrictHostKeyChecking yes\n"
            f"UserKnownHostsFile {self.path('known')}\nGlobalKnownHostsFile none\n",
        )
        with open(f"{self.host_key}.pub", encoding="utf-8") as key:
            self.file("known", f"[127.0.0.1]:{self.port} {key.read()}")
        shutil.copy(f"{self.user_key}.pub", self.path("authorized"))
        server = self.file(
            "server.conf",
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.path('authorized')}\nStrictModes no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n",
        )
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # which sshd wants to be there
        with open(self.path("log"), "wb") as log:
            self.popen = subprocess.Popen(
                [shutil.which("sshd"), "-D", "-e", "-f", server], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            eventually("sshd listens", lambda: self.popen.poll() is not None or "Server listening" in self.log())
            assert self.popen.poll() is None, f"sshd has ended: {self.log()}"
        except AssertionError:
            self.stop()
            raise

    def path(self, name):
        return os.path.join(self.lab, name)

    def file(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def key(self, name):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path(name)], check=True, stdin=subprocess.DEVNULL
        )
        return self.path(name)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def connections(self):
        return self.log().count("Accepted publickey")

    def break_connections(self):
        """Kills the processes that serve them, as a host does whose power fails. The next connections are served as before."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rsplit(")", 1)[1].split()[1]) == self.popen.pid:
                    os.kill(int(entry), signal.SIGKILL)

    def stop(self):
        self.popen.terminate()
        self.popen.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
