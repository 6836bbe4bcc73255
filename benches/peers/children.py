"""Processes that are started here, and the certainty that they have gone: those of the peers' clusters too, which detach
themselves.

Linux only. This process adopts every orphan among its descendants (a subreaper), so that all of them can be found by their
parents, and ended by their ids.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _prctl(option, value):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def adopt_orphans():
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent=None):
    """Asks for SIGTERM when the parent has gone. `parent` is its id, where it is known."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent and os.getppid() != parent:
        sys.exit(143)


def spawn(command, **options):
    """A child in a session of its own, so that Ctrl-C reaches this process alone; it is told when this process is gone."""
    parent = os.getpid()
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=lambda: die_with_parent(parent), **options
    )


def stop(child, seconds=15):
    """Asks a child to leave, waits, and kills it in the end."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def descendants():
    """Ids and names of all live processes under this one."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            parents[int(entry.name)] = int(rest[1])
            if rest[0] != "Z":
                names[int(entry.name)] = name
    found, waiting = {}, [os.getpid()]
    while waiting:
        above = waiting.pop()
        below = [child for child, parent in parents.items() if parent == above]
        waiting += below
        found |= {child: names[child] for child in below if child in names}
    return found


def end_descendants(seconds=5):
    """Ends all that is left under this process, and names it. A cluster that has stopped in good order leaves nothing."""
    left = descendants()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + seconds
        # New ones may come while the old ones go.
        while (found := descendants()) and time.monotonic() < deadline:
            for child in found:
                _send(child, number)
            _reap()
            time.sleep(0.1)
    _reap()
    return sorted(left.values())


def _send(child, number):
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass


def _reap():
    """Takes leave of adopted children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
