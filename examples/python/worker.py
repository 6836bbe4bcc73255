#!/usr/bin/env python3
"""A worker in Python: it takes leases from a broker, and computes counts with numpy, to the bit.

Written from proto/SPEC.md alone. One thread does all: the mathematics calls `tick` every few
milliseconds, and that serves the socket, as section 4 demands while pixels are computed.
"""

import argparse
import os
import random
import signal
import sys
import time
import zlib
from functools import partial
from types import SimpleNamespace

import numpy as np
import zmq

from grid import Command, Connection, Lost, Rejected, delay_s
from picture import Request, Strips, counts_of_rows


say = partial(print, "worker:", file=sys.stderr, flush=True)


class Withdrawn(Exception):
    """Nobody wants what is being computed any more."""


class Worker:
    """What one connection brought, and what goes with it."""

    def __init__(self, grid, signals):
        self.grid, self.signals, self.leaving, self.leases = grid, signals, False, []
        grid.bands = lambda: [[lease.bands[0]["attempt"], lease.progress] for lease in self.leases]

    def work(self):
        """Computes one lease after another, until a signal came and what ran then is delivered."""
        while self.leases or not self.leaving:
            self.turn(0 if self.leases else 0.1)
            if self.leases:  # with a credit of two there is no choice between classes
                self.compute(self.leases[0])

    def turn(self, wait_s):
        for command, header, _ in self.grid.turn(wait_s):
            if command is Command.WELCOME:
                say(f"connected to {header['agent']}")
            elif command is Command.LEASE:
                self.on_lease(header)
            elif command is Command.WITHDRAW:
                self.on_withdraw(header)
        if self.signals and not self.leaving:
            self.leaving = True
            self.grid.send(Command.CREDIT, {"credit": 0})
        if self.leaving:  # at every turn: more may be leased before the broker hears of it
            for lease in list(self.leases):
                if lease.progress == 0 or len(self.signals) > 1:
                    self.give_up(lease, "withdrawn")

    def on_lease(self, header):
        bands = [{"attempt": header["attempt"], **header["kind"].get("band", {})}]
        bands += [header["mirror"]] if "mirror" in header else []  # the second on the same credit
        lease = SimpleNamespace(request=header["request"], bands=bands, progress=0)
        self.leases.append(lease)
        if "band" not in header["kind"]:  # a probe, which costs nothing to decline
            self.give_up(lease, "declined")

    def on_withdraw(self, header):
        for lease in list(self.leases):
            spared = header.get("if_waiting") and lease.progress
            if not spared and header["attempt"] in [band["attempt"] for band in lease.bands]:
                self.give_up(lease, "withdrawn")

    def give_up(self, lease, failure, reason=""):
        """Answers what is not answered of a lease: a band goes back together with its mirror."""
        self.leases.remove(lease)
        for band in lease.bands:
            answer = {"attempt": band["attempt"], "failure": failure, "reason": reason}
            self.grid.send(Command.BAND_FAILED, answer)

    def compute(self, lease):
        def tick():
            lease.progress += 1
            self.turn(0)
            if lease not in self.leases:
                raise Withdrawn
        try:
            while lease.bands:
                answer = tile(lease.request, lease.bands[0], tick)
                lease.bands.pop(0)
                self.grid.send(Command.TILE, *answer)
            self.leases.remove(lease)
        except Withdrawn:
            pass
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            self.give_up(lease, "crashed", str(error)[:60])


def tile(request, band, tick):
    """The header and the payload of the TILE of a band."""
    request, began, iterations, raws = Request.from_wire(request), time.thread_time_ns(), 0, []
    strips = Strips(request)
    for strip in range(band["first"], band["first"] + band["strips"]):
        rows = np.arange(strips.start(strip), strips.start(strip + 1))
        counts = counts_of_rows(request, rows, tick)
        iterations += int(counts.sum(dtype=np.uint64))
        raws.append(counts.astype("<u4").tobytes())
    payload = b"".join(raws)
    return {"attempt": band["attempt"], "iterations": iterations, "crc32": zlib.crc32(payload),
            "compute_ns": time.thread_time_ns() - began,
            "strips": [[len(raw), zlib.adler32(raw)] for raw in raws]}, payload


def main():
    parser = argparse.ArgumentParser(description="Computes raw counts for a broker of Fractally.",
                                     epilog="Ctrl-C: delivers what runs; again: hands it back.")
    parser.add_argument("--broker", metavar="ENDPOINT", default="tcp://127.0.0.1:5556")
    parser.add_argument("--name", default=f"python:{os.getpid()}", help="for `fractally status`")
    args, signals, tries = parser.parse_args(), [], 0
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda number, _: signals.append(number))
    worker = {"name": args.name, "engine": "fractally-2", "kernel": "numpy", "threads": 1,
              "credit": 2, "encodings": ["counts"]}
    hello = {"agent": "examples/python 1", "epoch": random.getrandbits(64), "worker": worker}
    while not signals:
        began = time.monotonic()
        try:
            with Connection(args.broker, hello) as grid:
                Worker(grid, signals).work()
        except Lost as lost:
            tries = tries + 1 if time.monotonic() - began < 10 else 0
            say(f"{lost}; looking for the broker again")
            time.sleep(delay_s(tries))
        except (Rejected, zmq.ZMQError) as error:
            sys.exit(f"worker: {args.broker}: {error}")
    say("stopped")


if __name__ == "__main__":
    main()
