"""Hosts that are network namespaces of this machine: a LAN on a bridge, whose cables can be slowed down and pulled.

All share this machine's processors, processes and files; what each has of its own is a network. The bridge has a namespace too,
so nothing is seen or changed outside, and two runs may use the same addresses. Names carry the process that made them and when it
began, so what a killed run left is known for what it is.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile

from errors import Failure, Usage
from host import Here

PREFIX = "fractally-multinode-"
FOLDER = "/run/netns"
WORKERS_MAX = 64
# What a limited cable lets through at once, and how long packets wait before they are dropped.
BURST_S, BURST_BYTES_MIN, QUEUE_MS = 0.001, 128 << 10, 100
RATE = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>[kmg]?)bit")


class NamespaceHost(Here):
    """A namespace with one cable to the bridge."""

    def __init__(self, name, lan, number, **rest):
        super().__init__(name, address=lan.address(number), **rest)
        self.lan, self.number = lan, number
        self.machine = "this machine"

    def argv(self, script):
        # `ip netns exec` becomes the program, so its process id is the program's.
        return ["ip", "netns", "exec", self.lan.namespace(self.name), *super().argv(script)]

    def cut_off(self, _process):
        self.lan.unplug(self.number)
        return "its cable was pulled: nothing comes, nothing goes, and nobody is told"


class Lan:
    """Namespaces for so many names, in order, with addresses from a network and perhaps a rate in bits a second each way."""

    def __init__(self, names, network, rate=None):
        self.names, self.network, self.rate = names, network, rate
        self.owner = owner()

    def build(self):
        """Makes all of it. What a failure leaves half made, `remove` removes."""
        bridge = self.namespace("lan")
        ip("netns", "add", bridge)
        commands = ["link add name bridge type bridge", "link set dev bridge up"]
        for number, name in enumerate(self.names):
            ip("netns", "add", self.namespace(name))
            commands += [
                f"link add name cable{number} type veth peer name eth0 netns {self.namespace(name)}",
                f"link set dev cable{number} master bridge",
                f"link set dev cable{number} up",
            ]
        ip("-n", bridge, "-batch", "-", stdin=commands)
        for number, name in enumerate(self.names):
            commands = [
                f"addr add {self.address(number)}/{self.network.prefixlen} dev eth0",
                "link set dev lo up",
                "link set dev eth0 up",
            ]
            ip("-n", self.namespace(name), "-batch", "-", stdin=commands)
            if self.rate:
                self.slow_down(self.namespace(name), "eth0")
                self.slow_down(bridge, f"cable{number}")

    def slow_down(self, namespace, device):
        burst = max(BURST_BYTES_MIN, int(self.rate * BURST_S / 8))
        command(
            [
                "tc",
                "-n",
                namespace,
                "qdisc",
                "add",
                "dev",
                device,
                "root",
                "tbf",
                "rate",
                f"{int(self.rate)}bit",
                "burst",
                str(burst),
                "latency",
                f"{QUEUE_MS}ms",
            ]
        )

    def unplug(self, number):
        ip("-n", self.namespace("lan"), "link", "set", "dev", f"cable{number}", "down")

    def address(self, number):
        return str(self.network.network_address + 1 + number)

    def namespace(self, name):
        return f"{PREFIX}{self.owner}-{name}"

    def remove(self):
        """Cables and bridge go with their namespaces. One that stays is no reason for others to: `left` tells of it."""
        for name in self.left():
            with contextlib.suppress(Failure):
                ip("netns", "del", name)

    def left(self):
        """Which of them are still there."""
        return [name for name in listed(FOLDER) if name.startswith(f"{PREFIX}{self.owner}-")]


def needed(rate):
    """Says what is missing for namespaces on this machine."""
    if os.geteuid() != 0:
        raise Usage("--namespaces needs root: network namespaces, bridges and their cables are made by root alone")
    for program in ["ip", "tc"] if rate else ["ip"]:
        if not shutil.which(program):
            raise Usage(f"--namespaces needs `{program}` (Debian: apt install iproute2)")


def network(text, hosts):
    """The network of an option, with room for so many hosts."""
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise Usage(f"--network: {error}; give one as 10.99.0.0/24") from None
    if not found.is_private:
        raise Usage(f"--network: {found} is no private network; take one in 10.0.0.0/8")
    if found.num_addresses - 2 < hosts:
        raise Usage(f"--network: {found} has {max(found.num_addresses - 2, 0)} addresses, and {hosts} hosts need one each")
    return found


def rate(text):
    """Bits a second of an option such as 1gbit, 100mbit, 2.5gbit."""
    known = RATE.fullmatch(text.lower())
    bits = float(known["number"]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[known["unit"]] if known else 0
    if not 1e5 <= bits <= 1e11:
        raise Usage(f"--rate must be from 100kbit to 100gbit, as 1gbit or 20mbit, not {text!r}")
    return bits


def owner():
    """This process: its id, and when it began, since ids are used again."""
    return f"{os.getpid()}-{began(os.getpid())}"


def began(pid):
    """When a process began, in ticks since the machine did; nothing where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except OSError:
        return None


def is_alive(its_owner):
    pid, _, ticks = its_owner.partition("-")
    return began(int(pid)) == int(ticks)


def folder_for(run_owner):
    """A folder for what this run needs here. Its path is short, for sockets are made in it."""
    where = tempfile.gettempdir()
    folder = os.path.join(where if len(where) <= 30 else "/tmp", f"{PREFIX}{run_owner}")
    os.mkdir(folder, 0o700)
    return folder


def clean(say):
    """Removes what killed runs left on this machine: processes in their namespaces, namespaces, folders. Gives how many."""
    removed = 0
    for name in listed(FOLDER):
        if is_leftover(name) and remove_namespace(name):
            say(f"removed the namespace {name}")
            removed += 1
    for where in {tempfile.gettempdir(), "/tmp"}:
        for name in listed(where):
            path = os.path.join(where, name)
            if is_leftover(name) and is_ours(path):
                shutil.rmtree(path, ignore_errors=True)
                say(f"removed the folder {path}")
                removed += 1
    return removed


def remove_namespace(name):
    """With the processes of the run that had it. Gives whether it was there: another run may clean up, too."""
    try:
        for pid in ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        ip("netns", "del", name)
    except Failure:
        if os.path.exists(os.path.join(FOLDER, name)):
            raise
        return False
    return True


def is_ours(path):
    """Whether it is a folder of this user. One that has gone meanwhile is nobody's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def is_leftover(name):
    its_owner = re.match(rf"{PREFIX}([0-9]+-[0-9]+)(-|$)", name)
    return bool(its_owner) and not is_alive(its_owner[1])


def listed(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def ip(*words, stdin=None):
    return command(["ip", *words], stdin)


def command(words, stdin=None):
    feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": "\n".join(stdin) + "\n"}
    try:
        done = subprocess.run(words, **feed, capture_output=True, text=True, timeout=60, start_new_session=True, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)}: not done within 60 s") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[:400]}")
    return done.stdout
