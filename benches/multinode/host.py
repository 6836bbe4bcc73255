"""A host: a place where processes of ours run. How a command gets there is all that `ssh.py` and `namespaces.py` add.

Every process that is started here carries the run's id in its environment. By that it is known again: no signal is sent to a
process id that belongs to somebody else by now, and `marked` finds whatever is left of a run. Servers leave as well when their
stdin closes, and a shell watches that for the others, so that they are gone even where this program was killed.
"""

import os
import re
import shlex
import shutil
import subprocess
import threading
import time

from errors import Failure

MARK = "FRACTALLY_MULTINODE_RUN"
COMMAND_S = 30  # most that a small command may take
LEAVE_S = 10  # what processes get to leave by themselves at the very end
FACTS = """uname -n; uname -srm; (grep -m1 '^model name' /proc/cpuinfo || echo :unknown) | cut -d: -f2-; nproc
grep '^MemTotal' /proc/meminfo | tr -dc 0-9; echo; cut -d' ' -f1-3 /proc/loadavg"""


class Host:
    """Runs commands and starts processes in a folder of its own, with `program` as the fractally of the run."""

    broken_code = None  # how the local command ends where the way to the host breaks

    def __init__(self, name, run_id, folder, program, *, threads=None, address=None):
        self.name, self.run_id, self.folder, self.program = name, run_id, folder, program
        self.threads, self.address = threads, address
        self.machine = name  # two hosts with one machine see the same processes

    def argv(self, script):
        """The local command that runs a shell script there."""
        raise NotImplementedError

    def connect(self):
        """Makes it ready for commands, and its folder."""
        self.run(f"mkdir -p {quoted(self.folder)}")

    def close(self):
        """Removes its folder. Its processes have ended."""
        self.run(f"rm -rf {quoted(self.folder)}")

    def has_program(self):
        """Whether the program is there; brings nothing."""
        return self.run(f"test -x {quoted(self.program)} && echo yes || true").strip() == b"yes"

    def cut_off(self, process):
        """Takes the host off the network for good, without telling anybody. Gives the words for it."""
        raise NotImplementedError

    def heal(self):
        """Undoes as much of that as is needed for its processes to end."""

    def run(self, script, *, stdin=None, timeout_s=COMMAND_S):
        """What a small shell script prints."""
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"stdin": stdin}
        try:
            done = subprocess.run(
                self.argv(script),
                **feed,
                capture_output=True,
                timeout=timeout_s,
                env=environment(),
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name}: no answer within {timeout_s} s to: {first_line(script)}") from None
        if done.returncode != 0:
            why = last_line(done.stderr) or f"exit code {done.returncode}"
            raise Failure(f"{self.name}: {why}, from: {first_line(script)}")
        return done.stdout

    def start(self, name, words):
        """A process whose output goes to files in the folder. It leaves when its stdin closes, which is a pipe that we hold."""
        return Process(self, name, f"echo pid $$; exec {said(name, words)}")

    def start_watched(self, name, words):
        """The same for one that does not look at its stdin: a shell does, and sends it SIGTERM."""
        return Process(
            self,
            name,
            f"exec 3<&0; {said(name, words)} </dev/null 3<&- & c=$!; echo pid $c; "
            "(read -r nothing <&3; kill -TERM $c) & w=$!; wait $c; code=$?; kill $w; exit $code",
        )

    def read(self, file, last_bytes=None):
        """The content of a file in the folder, or the end of it."""
        how = "cat" if last_bytes is None else f"tail -c {int(last_bytes)}"
        return self.run(f"cd {quoted(self.folder)} && {how} {quoted(file)}")

    def logs(self, last_bytes):
        """The ends of what processes there said, as [(name, bytes)]; one command, for a host may be far away."""
        script = (
            f"cd {quoted(self.folder)} && for f in *.log *.out; do "
            f"tail -c {int(last_bytes)} $f >.end 2>/dev/null && test -s .end && "
            "echo $f $(wc -c <.end) && cat .end; done; true"
        )
        text, found = self.run(script, timeout_s=120), []
        while text:
            head, _, text = text.partition(b"\n")
            name, size = head.decode().split()
            found.append((name, text[: int(size)]))
            text = text[int(size) :]
        return found

    def put(self, local_path, path):
        """Copies a program there, which gets its name when it is whole."""
        part = quoted(f"{path}.{self.run_id}.part")
        script = (
            f"mkdir -p {quoted(os.path.dirname(path) or '.')} && cat > {part} && chmod 755 {part} && mv {part} {quoted(path)}"
        )
        with open(local_path, "rb") as program:
            self.run(script, stdin=program, timeout_s=600)

    def sha256(self, path):
        """The hash of a file there, or nothing where there is none."""
        return self.run(f"if test -f {quoted(path)}; then sha256sum < {quoted(path)}; fi", timeout_s=120).decode()[:64] or None

    def facts(self):
        """What machine this is, for the record."""
        lines = [line.strip() for line in self.run(FACTS).decode(errors="replace").splitlines()]
        if len(lines) != 6:
            raise Failure(f"{self.name}: it is no Linux with /proc, it seems: {lines}")
        node, system, processor, cores, memory_kib, load = lines
        return {
            "node": node,
            "system": system,
            "processor": processor,
            "cores": int(cores),
            "memory_bytes": int(memory_kib or 0) * 1024,
            "load": [float(part) for part in load.split()],
        }

    def doctor(self):
        """What `fractally doctor` says: program, engine, kernel and so on."""
        lines = self.run(f"{quoted(self.program)} doctor").decode(errors="replace").splitlines()
        said = dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
        missing = [key for key in ("program", "engine", "cores", "kernel") if key not in said]
        if missing:
            raise Failure(f"{self.name}: `fractally doctor` does not tell {', '.join(missing)}; is that program ours?")
        return {
            "program": said["program"],
            "engine": said["engine"],
            "cores": int(said["cores"]),
            "kernel": said["kernel"].split(":")[0],
        }

    def marked(self, mark=None):
        """The processes there that carry a run's id: [(process id, command)]."""
        mark = quoted(f"{MARK}={mark or self.run_id}")
        # The list is made before it is read, and who has ended by then is nobody's.
        script = (
            f"for p in $(grep -lszxF {mark} /proc/[0-9]*/environ | cut -d/ -f3); do "
            f"echo $p $(tr '\\0' ' ' < /proc/$p/cmdline); done 2>/dev/null; true"
        )
        rows = [line.split(maxsplit=1) for line in self.run(script).decode(errors="replace").splitlines()]
        return [(int(row[0]), row[1]) for row in rows if len(row) == 2]

    def signal(self, pid, name, mark=None):
        """Sends a signal to a process that carries the run's id; to any other, nothing."""
        mark = quoted(f"{MARK}={mark or self.run_id}")
        self.run(f"if grep -qszxF {mark} /proc/{int(pid)}/environ; then kill -{name} {int(pid)} 2>/dev/null; fi; true")


class Here(Host):
    """This machine."""

    def argv(self, script):
        return ["sh", "-c", script]


class Process:
    """A process on a host. What it says goes to `NAME.out` and `NAME.log` in the host's folder."""

    def __init__(self, host, name, script):
        self.host, self.name, self.pid = host, name, None
        script = f"cd {quoted(host.folder)} || exit 1; {MARK}={quoted(host.run_id)}; export {MARK}; {script}"
        self.popen = subprocess.Popen(
            host.argv(script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
        )
        self.said = b""  # beside its process id: why it could not be started
        self.is_told = threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.popen.stdout:
            number = re.fullmatch(rb"pid ([0-9]+)\n", line)
            if number and self.pid is None:
                self.pid = int(number[1])
                self.is_told.set()
            else:
                self.said = (self.said + line)[-4096:]
        self.popen.stdout.close()
        self.is_told.set()

    def began(self, timeout_s=COMMAND_S):
        """Waits until it runs."""
        self.is_told.wait(timeout_s)
        if self.pid is None:
            self.wait(1)  # Its pipe closed a moment before it ended.
            raise Failure(f"{self.host.name}: {self.name} did not start: {self.why() or 'nothing was said'}")

    def has_ended(self):
        return self.popen.poll() is not None

    def leave(self):
        """Closes its stdin, which is how a server is asked to leave."""
        try:
            self.popen.stdin.close()
        except OSError:
            pass  # It has gone.

    def signal(self, name):
        if self.pid is not None and not self.has_ended():
            self.host.signal(self.pid, name)

    def wait(self, timeout_s):
        """Whether it has ended within so many seconds."""
        try:
            self.popen.wait(max(timeout_s, 0))
            return True
        except subprocess.TimeoutExpired:
            return False

    def why(self):
        """Its error, or the last that it logged."""
        if self.popen.poll() is not None and self.popen.returncode == self.host.broken_code:
            return f"the connection to its host broke: {last_line(self.said)}".rstrip(": ")
        try:
            log = self.host.read(f"{self.name}.log", 4096)
            errors = [line for line in log.splitlines() if re.search(rb"(?i)\berror\b", line)]
            return last_line(errors[-1] if errors else log) or last_line(self.said)
        except Failure as failure:
            return last_line(self.said) or str(failure)


def stop_all(processes, say):
    """Ends them: asked by stdin, then by SIGTERM, then by SIGKILL. What would not end is for `Host.marked` to find."""
    steps = [
        (8, lambda process: process.leave()),
        (5, lambda process: process.signal("TERM")),
        (5, lambda process: process.signal("KILL")),
        (2, lambda process: process.popen.kill()),
    ]
    for patience_s, ask in steps:
        left = [process for process in processes if not process.has_ended()]
        for process in left:
            try:
                ask(process)
            except Failure as failure:
                say(f"{process.name}: {failure}")
        deadline = time.monotonic() + patience_s
        for process in left:
            process.wait(deadline - time.monotonic())


def end_marked(hosts, say, mark=None):
    """Looks on every machine for processes of the run, and ends what it finds. Gives what was found, which should be nothing."""
    found = []
    for host in {host.machine: host for host in hosts}.values():
        try:
            # Where a connection broke, its processes are just leaving.
            deadline = time.monotonic() + LEAVE_S
            while host.marked(mark) and time.monotonic() < deadline:
                time.sleep(0.2)
            for pid, command in host.marked(mark):
                say(f"{host.name}: process {pid} was left, and is killed: {command[:120]}")
                host.signal(pid, "KILL", mark)
                found.append({"host": host.name, "pid": pid, "command": command[:200]})
        except Failure as failure:
            say(f"{host.name}: whether anything is left there could not be seen: {failure}")
            found.append({"host": host.name, "unknown": str(failure)})
    return found


def environment():
    """Ours, without what would change the program's defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FRACTALLY_")}


def copy_program(source, target):
    """A copy of its own, so that the whole run is of one program even if another is built meanwhile."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)


def said(name, words):
    """A command whose output goes to files of that name."""
    return f"{shlex.join(words)} >>{quoted(name)}.out 2>>{quoted(name)}.log"


def quoted(text):
    return shlex.quote(text)


def first_line(script):
    return script.strip().splitlines()[0][:120]


def last_line(text):
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:400] if lines else ""
