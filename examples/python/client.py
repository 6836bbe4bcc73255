#!/usr/bin/env python3
"""A client in Python: it asks a broker for a picture, takes its strips as they come, and writes a PNG or an array of counts.

Written from proto/SPEC.md alone. A broker that goes away and comes back finds the client waiting: the picture goes on at the
strip that it had reached.
"""

import argparse
import os
import random
import re
import signal
import sys
import time

import zmq

from grid import Command, Connection, Lost, Rejected, delays
from picture import Npy, Png, Request, Strips

WINDOW_BYTES = 16_777_216  # above the largest strip, which is a row of 1,000,000 pixels
SIDE_MAX, ITERATIONS_MAX = 2_147_483_647, 1_000_000_000
MAPS = ["inferno", "viridis", "magma", "plasma", "cividis", "twilight", "turbo", "hot", "gray", "bone", "copper", "ocean",
        "cubehelix", "gnuplot2"]


class Failed(Exception):
    """There will be no picture, for the reason given."""


class Render:
    """A picture that grows strip by strip, over as many connections as it takes."""

    def __init__(self, request, path, priority, say):
        self.request, self.path, self.priority, self.say = request, path, priority, say
        self.strips, self.part, self.file = Strips(request), f"{path}.{os.getpid()}.part", None
        self.begin()

    def begin(self):
        """Begins at the first strip, with nothing held."""
        self.drop()
        self.file = open(self.part, "wb")
        self.picture = (Npy if self.request.encoding == "counts" else Png)(self.file, self.request)
        self.key, self.job, self.have, self.engine, self.done = os.urandom(16), None, 0, None, None

    def drop(self):
        if self.file:
            self.file.close()
            os.unlink(self.part)
            self.file = None

    def finish(self):
        self.picture.end()
        self.file.close()
        os.replace(self.part, self.path)
        self.file = None

    def submit(self):
        held = {"have": self.have, "engine": self.engine} if self.have else {}
        return {"key": self.key, "priority": self.priority, **held, "window_bytes": WINDOW_BYTES,
                "request": self.request.to_wire()}

    def on_message(self, grid, command, header, payload):
        if command is Command.WELCOME:
            grid.send(Command.SUBMIT, self.submit())
        elif command is Command.ACCEPTED and header["key"] == self.key:
            if (header["strips"], header["rows_per_strip"]) != (self.strips.count, self.strips.rows_per_strip):
                raise Failed(f"the broker cuts the picture into {header['strips']} strips, and we into {self.strips.count}")
            self.job = header["job"]
            self.say(f"job {self.job:016x}", True)
        elif command is Command.REFUSED and header["key"] == self.key:
            self.on_refused(grid, header["refusal"])
        elif header.get("job") != self.job:
            pass  # of a job that we have given up
        elif command is Command.STRIPS:
            self.on_strips(header, payload)
            grid.send(Command.ACK, {"job": self.job, "have": self.have})
        elif command is Command.PROGRESS:
            left = f", {header['eta_ms'] / 1000:.1f} s left" if header.get("eta_ms") is not None else ""
            share = 100 * header["rows"] // self.strips.height
            self.say(f"{share} % by {header['workers']} of {header['workers_all']} workers{left}")
        elif command is Command.DONE:
            if self.have != self.strips.count:
                raise Failed(f"the broker is done, but {self.have} of {self.strips.count} strips came")
            self.done = header
        elif command is Command.FAILED:
            raise Failed(f"the broker gave job {self.job:016x} up: {header['reason']}")

    def on_refused(self, grid, refusal):
        code, why = refusal.get("code"), f"{refusal.get('field')}: {refusal.get('message')} ({refusal.get('code')})"
        if code == "cannot_resume":
            self.say(f"{why}; from the first row again", True)
            self.begin()
            grid.send(Command.SUBMIT, self.submit())
        elif code == "closing":
            raise Lost(f"the broker takes nothing new: {why}")
        else:
            raise Failed(f"refused: {why}")

    def on_strips(self, header, payload):
        if header["first"] != self.have or sum(length for length, _ in header["strips"]) != len(payload):
            raise Lost(f"the broker sent strips from {header['first']} on, and {self.have} was next, or bytes of other strips")
        at = 0
        for length, adler in header["strips"]:
            self.picture.strip(payload[at:at + length], adler, self.strips.rows(self.have) * self.request.row_bytes())
            self.have, at = self.have + 1, at + length
        self.engine = header["engine"]


def follow(render, endpoint, hello, connect_s, reconnect_s):
    """Talks to the broker until the picture is there, over new connections as long as one is of use within the time for that."""
    tries, patience_s = delays(), connect_s
    end = time.monotonic() + patience_s
    while True:
        try:
            with Connection(endpoint, hello) as grid:
                try:
                    while not render.done:
                        for message in grid.turn(1.0):
                            render.on_message(grid, *message)
                        if render.job is not None:  # accepted: whatever happens now, it is worth waiting for
                            tries, patience_s = delays(), reconnect_s
                            end = time.monotonic() + patience_s
                finally:
                    if grid.welcome and not grid.over:
                        grid.leave("done" if render.done else "cancelled")
                return
        except Lost as lost:
            render.job = None
            if time.monotonic() > end:
                raise Failed(f"no broker at {endpoint} for {patience_s:g} s: {lost}") from None
            render.say(f"{lost}; trying again", True)
            time.sleep(next(tries))


def speaker(quiet):
    """A function that tells of progress: on a terminal in one line, elsewhere in lines of their own."""
    def say(text, lasts=False):
        if quiet:
            return
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="\n" if lasts else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
    return say


def sized(text):
    match = re.fullmatch(r"(\d{1,10})x(\d{1,10})", text)
    if not match or not all(1 <= int(side) <= SIDE_MAX for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT with sides from 1 to {SIDE_MAX} pixels, as 1920x1080")
    return {"w": int(match[1]), "h": int(match[2])}


def limit(text):
    if not re.fullmatch(r"\d{1,10}", text) or not 1 <= int(text) <= ITERATIONS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of iterations from 1 to {ITERATIONS_MAX}")
    return int(text)


def main():
    parser = argparse.ArgumentParser(description="Renders a Julia set on the grid of a broker of Fractally.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--broker", metavar="ENDPOINT", default="tcp://127.0.0.1:5555", help="the broker's endpoint for clients")
    parser.add_argument("-c", nargs=2, type=float, metavar=("RE", "IM"), default=(-0.8, 0.156), help="the constant of z² + c")
    parser.add_argument("--center", nargs=2, type=float, metavar=("RE", "IM"), default=(0.0, 0.0), help="centre of the view")
    parser.add_argument("--width", type=float, default=4.0, help="width of the view in plane units")
    parser.add_argument("--size", type=sized, metavar="WxH", default="800x400", help="size of the picture in pixels")
    parser.add_argument("--iter", type=limit, default=256, metavar="N", help="iteration limit")
    parser.add_argument("--bailout", type=float, default=2.0, metavar="R", help="a point has escaped when |z| is greater")
    parser.add_argument("--cmap", choices=MAPS, default="inferno", metavar="NAME", help="colour map: " + ", ".join(MAPS))
    parser.add_argument("--priority", choices=["interactive", "normal", "batch"], default="interactive", help="class of the job")
    parser.add_argument("-o", "--output", metavar="FILE", default="julia.png", help="where the picture goes")
    parser.add_argument("--npy", action="store_true", help="write raw counts, u32 of height x width, as numpy.load reads them")
    parser.add_argument("--connect-timeout", type=float, default=5.0, metavar="S", help="seconds to wait for a broker at first")
    parser.add_argument("--reconnect-for", type=float, default=60.0, metavar="S", help="seconds to wait for one that went away")
    parser.add_argument("--quiet", action="store_true", help="tell of errors only")
    args = parser.parse_args()
    request = Request(tuple(args.c), tuple(args.center), args.width, args.size, {"x": 0, "y": 0, **args.size}, args.iter,
                      args.bailout, {"map": args.cmap, "interior": [0, 0, 0]}, "counts" if args.npy else "png")
    hello = {"agent": "examples/python 1", "epoch": random.getrandbits(64)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say, render = speaker(args.quiet), None
    try:
        render = Render(request, args.output, args.priority, say)
        follow(render, args.broker, hello, args.connect_timeout, args.reconnect_for)
        render.finish()
    except (Failed, Rejected, OSError, ValueError, zmq.ZMQError) as error:
        sys.exit(f"client: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if render:
            render.drop()
    done = render.done
    say(f"{args.output}: {done['iterations']:,} iterations, {done['elapsed_ms'] / 1000:.1f} s, {done['workers']} workers", True)


if __name__ == "__main__":
    main()
