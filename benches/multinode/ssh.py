"""Hosts that are reached over ssh: one connection each, which all commands share.

The connection is a `cat` on the host whose stdin we hold. When we end, in whatever way, it ends, and with it the connection.
What ssh needs to know of a host (keys, jumps, known hosts) stands in the user's own configuration; nothing is ever asked.
"""

import ipaddress
import os
import shutil
import socket
import subprocess
import threading

from errors import Failure, Usage
from host import COMMAND_S, Host, environment, last_line, quoted


def needed():
    if not shutil.which("ssh"):
        raise Usage("there is no `ssh` here (Debian: apt install openssh-client)")


class SshHost(Host):
    """A host of the hosts file. `folder` and `program` are below the user's home, or absolute."""

    broken_code = 255

    def __init__(self, line, run_id, sockets, *, config=None, connect_timeout_s=10):
        super().__init__(line.name, run_id, f"{line.folder}/run-{run_id}", f"{line.folder}/fractally", threads=line.threads)
        self.line, self.config, self.connect_timeout_s = line, config, connect_timeout_s
        self.socket = os.path.join(sockets, f"c{line.line}")
        self.machine = f"{line.destination}:{line.port}"
        self.master = self.frozen = None

    def options(self):
        wanted = {
            "BatchMode": "yes",
            "ConnectTimeout": self.connect_timeout_s,
            "ControlPath": self.socket,
            "ControlPersist": "no",
            "ServerAliveInterval": 5,
            "ServerAliveCountMax": 6,
            "RequestTTY": "no",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
        }
        port = ["-p", str(self.line.port)] if self.line.port else []
        file = ["-F", self.config] if self.config else []
        return file + [f"-o{name}={value}" for name, value in wanted.items()] + port

    def argv(self, script):
        # The login shell may be any; what it is given has nothing but one quoted word to understand.
        return ["ssh", *self.options(), "-oControlMaster=no", "--", self.line.destination, f"sh -c {quoted(script)}"]

    def connect(self):
        command = [
            "ssh",
            *self.options(),
            "-oControlMaster=yes",
            "--",
            self.line.destination,
            "sh -c 'echo; echo connected; exec cat >/dev/null'",
        ]
        self.master = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        connected, said = threading.Event(), []

        def listen():
            if any(line.strip() == b"connected" for line in self.master.stdout):
                connected.set()

        def complain():
            for line in self.master.stderr:
                said.append(line)
                del said[:-20]

        readers = [threading.Thread(target=target, daemon=True) for target in (listen, complain)]
        for reader in readers:
            reader.start()
        # The timeout of ssh is for the connection alone; a host may also accept it and say nothing more.
        readers[0].join(self.connect_timeout_s + 5)
        if not connected.is_set():
            self.close_connection()
            readers[1].join(1)
            why = last_line(b"".join(said)) or f"it said nothing within {self.connect_timeout_s + 5} s"
            raise Failure(f"{self.name}: it cannot be reached with `ssh {self.line.destination}`: {why}")
        home = self.run("cd && pwd").decode(errors="replace").strip()
        if not home.startswith("/") or "\n" in home:
            self.close_connection()  # Nothing that comes over it could be understood.
            raise Failure(
                f"{self.name}: its shell says more than it is asked: {home[:200]!r}; "
                "what a login prints must not be printed where there is no terminal"
            )
        self.folder, self.program = os.path.join(home, self.folder), os.path.join(home, self.program)
        super().connect()

    def close(self):
        try:
            super().close()
        finally:
            self.close_connection()

    def close_connection(self):
        if self.master is None:
            return
        try:
            self.master.stdin.close()
        except OSError:
            pass  # It has gone.
        try:
            self.master.wait(3)
        except subprocess.TimeoutExpired:
            self.master.kill()
            self.master.wait()
        self.master = None

    def cut_off(self, process):
        """Stops the worker, which keeps its connections and says nothing. It is woken when our end of the pipe closes."""
        script = f"kill -STOP {process.pid} && read nothing; kill -CONT {process.pid}"
        self.frozen = self.start(f"{process.name}-frozen", ["sh", "-c", script])
        self.frozen.began()
        return "its worker was stopped (SIGSTOP), for the network of a host reached over ssh is not ours to cut"

    def heal(self):
        """Wakes what was stopped, so that it can leave."""
        if self.frozen:
            self.frozen.leave()
            self.frozen.wait(5)

    def address_for_others(self):
        """Where the other hosts reach this one: `address=`, or what its name stands for."""
        if self.line.address:
            return self.line.address
        file = ["-F", self.config] if self.config else []
        command = ["ssh", *file, "-G", "--", self.line.destination]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S).stdout
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: `{' '.join(command)}` was not done within {COMMAND_S} s") from None
        names = [line.split(" ", 1)[1] for line in said.splitlines() if line.startswith("hostname ")]
        name = names[0] if names else self.line.host
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass  # It is a name.
        try:
            return socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)[0][4][0]
        except OSError as error:
            raise Usage(
                f"{self.name}: the address of {name} is not known here ({error}); give it as address=IP in the hosts file"
            ) from None
