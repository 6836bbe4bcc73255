#!/usr/bin/env python3
"""A worker in Python: it takes bands from a broker, computes their counts with numpy, and hands them back.

Written from proto/SPEC.md alone. The main thread owns the socket and says all that is said; a second one computes, one lease at
a time. Python runs one thread at a time, and still the socket is served: no numpy call here takes longer than a block of pixels,
and between calls the interpreter lets the other thread in. For more cores, start more workers.
"""

import argparse
import os
import queue
import random
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from dataclasses import dataclass, field

import numpy as np
import zmq

from grid import Command, Connection, Lost, Rejected, delays
from picture import Request, Strips, counts_of_rows, escape_times, sample

CLASSES = {"interactive": 0, "normal": 1, "batch": 2}
WAKE = "inproc://computed"


class Withdrawn(Exception):
    """Nobody wants this any more."""


@dataclass
class Part:
    """What one attempt is for: a band, or a probe (then `first` and `strips` are None)."""

    attempt: int
    first: int = None
    strips: int = None
    answered: bool = False
    begun: bool = False


@dataclass
class Lease:
    rank: tuple
    request: Request
    parts: list
    probe: dict = None
    progress: int = 0
    counts: dict = field(default_factory=dict)  # row -> its counts, of the first band, for its mirror

    def held(self):
        return next((part for part in self.parts if not part.answered), None)


def ticker(lease, part):
    """What the mathematics calls every few steps: it shows progress, and ends what nobody wants any more."""
    def tick():
        lease.progress += 1
        if part.answered:
            raise Withdrawn
    return tick


def band(lease, part):
    """The TILE of a band. Rows of a mirror are those of the first band of the lease, read backwards, where that had them."""
    request, strips, begun = lease.request, Strips(lease.request), time.thread_time_ns()
    total, executed, entries, payload = 0, 0, [], b""
    for strip in range(part.first, part.first + part.strips):
        rows = range(strips.start(strip), strips.start(strip + 1))
        twins = {row: lease.counts[strips.height - 1 - row] for row in rows if strips.height - 1 - row in lease.counts}
        missing = np.array([row for row in rows if row not in twins], np.int64)
        counts = dict(zip(missing.tolist(), counts_of_rows(request, missing, ticker(lease, part))))
        executed += sum(int(row.sum(dtype=np.uint64)) for row in counts.values())
        counts |= {row: twin[::-1] for row, twin in twins.items()}
        total += sum(int(row.sum(dtype=np.uint64)) for row in counts.values())
        if part is not lease.parts[-1]:
            lease.counts |= counts
        raw = b"".join(counts[row].astype("<u4").tobytes() for row in rows)
        entries.append([len(raw), zlib.adler32(raw)])
        payload += raw
    return Command.TILE, {"attempt": part.attempt, "iterations": total, "executed": executed, "strips": entries,
                          "compute_ns": time.thread_time_ns() - begun, "crc32": zlib.crc32(payload)}, payload


def probe(lease, part):
    """The SAMPLES of a probe: of one row in every so many one pixel in every so many, as far as its budget goes."""
    request, begun, samples = lease.request, time.thread_time_ns(), []
    rows, columns = (middles(request.window[side], lease.probe[step]) for side, step in (("h", "rows"), ("w", "cols")))
    end = time.monotonic() + lease.probe["budget_ms"] / 1000
    for row in sorted(rows.tolist(), key=lambda row: f"{row:032b}"[::-1]):  # bits reversed, so that any beginning is spread out
        x, y = sample(request, columns, np.full_like(columns, row))
        executed = int(escape_times(request, x, y, ticker(lease, part)).sum(dtype=np.uint64))
        samples.append(struct.pack("<IIQ", row, columns.size, executed))
        if time.monotonic() > end:
            break
    return Command.SAMPLES, {"attempt": part.attempt, "compute_ns": time.thread_time_ns() - begun}, b"".join(samples)


def middles(total, step):
    return np.minimum(np.arange(0, total, step) + step // 2, total - 1)


def compute(leases, answers):
    """The second thread: takes leases from one queue, and puts (part, answer) into the other, at last (None, lease)."""
    wake = zmq.Context.instance().socket(zmq.PAIR)
    wake.connect(WAKE)
    while lease := leases.get():
        for part in lease.parts:
            try:
                if not part.answered:
                    part.begun, lease.progress = True, lease.progress + 1
                    answers.put((part, (band if lease.probe is None else probe)(lease, part)))
            except Withdrawn:
                pass
            except Exception as error:  # whatever it is, the broker shall hear of it
                answers.put((part, (Command.BAND_FAILED, failed(part, "crashed", str(error)))))
        answers.put((None, lease))
        wake.send(b"")
    wake.close(linger=0)


def failed(part, failure, reason=""):
    return {"attempt": part.attempt, "failure": failure, "reason": reason[:60]}


class Session:
    """What is held of one connection, and what is said about it."""

    def __init__(self, grid, leases, answers, wake):
        self.grid, self.leases, self.answers, self.wake = grid, leases, answers, wake
        self.waiting, self.running, self.count, self.leaving = [], None, 0, False
        grid.bands = self.progress

    def progress(self):
        held = [*self.waiting, *([self.running] if self.running and self.running.held() else [])]
        return [[lease.held().attempt, lease.progress] for lease in held]

    def answer(self, part, command, header, payload=None):
        """Answers an attempt, unless it was answered: it may have been withdrawn while it was computed."""
        if not part.answered:
            part.answered = True
            self.grid.send(command, header, payload)

    def give_back(self, part):
        self.answer(part, Command.BAND_FAILED, failed(part, "withdrawn"))

    def on_lease(self, header):
        request, kind, mirror = Request.from_wire(header["request"]), header["kind"], header.get("mirror")
        self.count += 1
        lease = Lease((CLASSES.get(header.get("priority"), 0), self.count), request, [], kind.get("probe"))
        bands = [] if "probe" in kind else [dict(kind["band"], attempt=header["attempt"])] + ([mirror] if mirror else [])
        for each in bands:
            if not 0 <= each["first"] < each["first"] + each["strips"] <= min(Strips(request).count, each["first"] + 64):
                raise ValueError(f"strips {each} of {Strips(request).count}")
        lease.parts = [Part(each["attempt"], each["first"], each["strips"]) for each in bands] or [Part(header["attempt"])]
        self.waiting.append(lease)
        self.waiting.sort(key=lambda lease: lease.rank)
        if request.encoding != "counts":
            for part in lease.parts:
                self.answer(part, Command.BAND_FAILED, failed(part, "declined", "this worker renders counts only"))

    def on_withdraw(self, header):
        for lease in [*self.waiting, *([self.running] if self.running else [])]:
            for part in lease.parts:
                if part.attempt == header["attempt"] and not (header.get("if_waiting") and part.begun):
                    self.give_back(part)  # a part that runs notices that it was answered

    def turn(self):
        """One turn: what came from the broker, what was computed, and what to compute next. True while there is anything left."""
        for command, header, _ in self.grid.turn(0.1, self.wake):
            try:
                if command is Command.LEASE:
                    self.on_lease(header)
                elif command is Command.WITHDRAW:
                    self.on_withdraw(header)
                elif command is not Command.WELCOME:
                    raise ValueError("a worker has no use for it")
            except (ValueError, KeyError, TypeError) as error:
                raise Lost(f"the broker sent a {command.name} that makes no sense: {error}") from None
        while self.wake.poll(0):
            self.wake.recv()
        while not self.answers.empty():
            part, answer = self.answers.get()
            if part:
                self.answer(part, *answer)
            elif answer is self.running:
                self.running = None
        if self.leaving:
            for lease in self.waiting:
                for part in lease.parts:
                    self.give_back(part)
        self.waiting = [lease for lease in self.waiting if lease.held()]
        if self.waiting and not self.running:
            self.running = self.waiting.pop(0)
            self.leases.put(self.running)
        return bool(self.running or not self.leaving)

    def end(self):
        """What still runs need not go on: the connection that it was leased on is over."""
        for part in self.running.parts if self.running else []:
            part.answered = True


def work(endpoint, hello, signals):
    """Serves brokers at the endpoint until a signal says to stop."""
    leases, answers, wake = queue.SimpleQueue(), queue.SimpleQueue(), zmq.Context.instance().socket(zmq.PAIR)
    wake.bind(WAKE)
    thread = threading.Thread(target=compute, args=(leases, answers))
    thread.start()
    try:
        connect(endpoint, hello, signals, (leases, answers, wake))
    finally:
        leases.put(None)
        thread.join()
        wake.close(linger=0)


def connect(endpoint, hello, signals, second_thread):
    """One connection after another, until one ends as it should."""
    tries = delays()
    while not signals:
        began = time.monotonic()
        try:
            with Connection(endpoint, hello) as grid:
                session = Session(grid, *second_thread)
                try:
                    serve(session, signals)
                    return
                finally:
                    session.end()
                    if time.monotonic() - began > 10:
                        tries = delays()
        except Lost as lost:
            say(f"{lost}; looking for the broker again")
        end = time.monotonic() + next(tries)
        while not signals and time.monotonic() < end:
            time.sleep(0.05)


def serve(session, signals):
    said = False
    while session.turn():
        if session.grid.welcome and not said:
            said = True
            say(f"connected to {session.grid.welcome['agent']}")
        if signals and not session.leaving:
            session.leaving = True
            session.grid.send(Command.CREDIT, {"credit": 0})
        if len(signals) > 1 and session.running:
            for part in session.running.parts:
                session.give_back(part)
    session.grid.leave("stopped")
    say("stopped")


def say(text):
    print(f"worker: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Computes raw counts for a broker of Fractally, with numpy.",
                                     epilog="Ctrl-C or SIGTERM: delivers what is being computed; a second time: hands it back.")
    parser.add_argument("--broker", metavar="ENDPOINT", default="tcp://127.0.0.1:5556",
                        help="the broker's endpoint for workers, tcp://HOST:PORT or ipc://PATH (default: %(default)s)")
    parser.add_argument("--name", default=f"{socket.gethostname()}:{os.getpid()}"[:256], help="its name in `fractally status`")
    args = parser.parse_args()
    signals = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    worker = {"name": args.name, "engine": "fractally-2", "kernel": "numpy", "threads": 1, "credit": 2, "encodings": ["counts"]}
    try:
        work(args.broker, {"agent": "examples/python 1", "epoch": random.getrandbits(64), "worker": worker}, signals)
    except (Rejected, zmq.ZMQError) as error:
        sys.exit(f"worker: {args.broker}: {error}")


if __name__ == "__main__":
    main()
