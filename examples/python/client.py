#!/usr/bin/env python3
"""A client in Python: it asks a broker for a picture, and writes a PNG or an array of counts.

Written from proto/SPEC.md alone. After a break it goes on at the strip that it had reached.
"""

import argparse
import os
import pathlib
import random
import re
import signal
import sys
import time

import zmq

from grid import Command, Connection, Lost, Rejected, delay_s
from picture import Npy, Png, Request, Strips

WINDOW_BYTES = 16_777_216  # above the largest strip, which is a row of 1,000,000 pixels
TRIES_MAX = 10  # connections in a row that are of no use; a minute, where nobody answers


class Render:
    """A picture that grows strip by strip, over as many connections as it takes."""

    def __init__(self, request, file):
        self.request, self.file, self.strips = request, file, Strips(request)
        self.job = self.done = None
        self.begin()

    def begin(self):
        """Holds nothing yet, under a key that no other job has."""
        self.key, self.have, self.engine = os.urandom(16), 0, None
        self.file.seek(0)
        self.file.truncate()
        self.picture = (Npy if self.request.encoding == "counts" else Png)(self.file, self.request)

    def submit(self, grid):
        held = {"have": self.have, "engine": self.engine} if self.have else {}
        grid.send(Command.SUBMIT, {"key": self.key, **held, "window_bytes": WINDOW_BYTES,
                                   "request": self.request.to_wire()})

    def on_message(self, grid, command, header, payload):
        if command is Command.WELCOME:
            self.submit(grid)
        elif command is Command.ACCEPTED:
            self.job = header["job"]
            say(f"job {self.job:016x}")
        elif command is Command.REFUSED:
            refusal = header["refusal"]
            if refusal["code"] != "cannot_resume":
                raise Rejected(f"refused: {refusal['field']}: {refusal['message']}")
            self.begin()
            self.submit(grid)
        elif command is Command.STRIPS:
            self.on_strips(header, payload)
            grid.send(Command.ACK, {"job": self.job, "have": self.have})
        elif command is Command.PROGRESS:
            share = 100 * header["rows"] // self.strips.height
            say(f"{share} % by {header['workers']} of {header['workers_all']} workers", end="")
        elif command is Command.DONE:
            if self.have != self.strips.count:
                raise Rejected(f"done, but {self.have} of {self.strips.count} strips came")
            self.picture.end()
            self.done = header
        elif command is Command.FAILED:
            raise Rejected(f"the broker gave the job up: {header['reason']}")

    def on_strips(self, header, payload):
        """Puts strips away. They come in order, and each once."""
        if header["first"] != self.have or sum(n for n, _ in header["strips"]) != len(payload):
            raise Lost(f"the broker sent other strips than said, or than {self.have}, the next")
        at, self.engine = 0, header["engine"]
        for length, adler in header["strips"]:
            raw_bytes = self.strips.rows(self.have) * self.request.row_bytes()
            self.picture.strip(payload[at:at + length], adler, raw_bytes)
            self.have, at = self.have + 1, at + length


def follow(render, endpoint):
    """Talks to the broker until the picture is there, over new connections where one is lost."""
    hello, tries = {"agent": "examples/python 1", "epoch": random.getrandbits(64)}, 0
    while not render.done:
        had = render.have
        try:
            with Connection(endpoint, hello) as grid:
                while not render.done:
                    for message in grid.turn(0.1):
                        render.on_message(grid, *message)
        except Lost as lost:
            tries = 1 if render.have > had else tries + 1
            if render.job is None or tries > TRIES_MAX:
                raise Rejected(f"{endpoint}: {lost}") from None
            say(f"{lost}; trying again")
            time.sleep(delay_s(tries))


def say(text, end="\n"):
    """On a terminal, what ends in nothing is overwritten by what is said next."""
    text = f"\r\033[K{text}{end}" if sys.stderr.isatty() else f"{text}\n"
    print(text, end="", file=sys.stderr, flush=True)


def sides(text):
    if not re.fullmatch(r"[1-9]\d{0,8}x[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, as 1920x1080")
    return dict(zip("wh", map(int, text.split("x"))))


def main():
    parser = argparse.ArgumentParser(description="Renders a Julia set on a grid of Fractally.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add, plane = parser.add_argument, {"nargs": 2, "type": float, "metavar": ("RE", "IM")}
    add("--broker", default="tcp://127.0.0.1:5555", help="the broker's endpoint for clients")
    add("-c", **plane, default=(-0.8, 0.156), help="the constant of z² + c")
    add("--center", **plane, default=(0.0, 0.0), help="centre of the view")
    add("--width", type=float, default=4.0, help="width of the view in plane units")
    add("--size", type=sides, default="800x400", help="size of the picture in pixels")
    add("--iter", type=int, default=256, help="iteration limit")
    add("--bailout", type=float, default=2.0, help="a point has escaped when |z| is greater")
    add("--cmap", default="inferno", help="colour map, of those that proto/SPEC.md lists")
    add("--npy", action="store_true", help="write raw counts, as numpy.load reads them")
    add("-o", "--output", default="julia.png", help="where the picture goes")
    args = parser.parse_args()
    request = Request(args.c, args.center, args.width, args.size, {"x": 0, "y": 0, **args.size},
                      args.iter, args.bailout, {"map": args.cmap, "interior": [0, 0, 0]},
                      "counts" if args.npy else "png")
    part = pathlib.Path(f"{args.output}.{os.getpid()}.part")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with open(part, "wb") as file:
            render = Render(request, file)
            follow(render, args.broker)
        part.replace(args.output)
        seconds, workers = render.done["elapsed_ms"] / 1000, render.done["workers"]
        say(f"{args.output}: {seconds:.1f} s by {workers} workers")
    except (Rejected, OSError, ValueError, OverflowError, zmq.ZMQError) as error:
        sys.exit(f"client: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
