"""One connection to a broker: frames, HELLO, heartbeats and the send window, which sections 1 and 2
of proto/SPEC.md define. What is said over it is the business of worker.py and client.py.
"""

import enum
import random
import time
from collections import deque

import msgpack
import zmq

PREAMBLE = b"FRLY\x01"
HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX = 4_096, 8_388_608
WINDOW_MESSAGES, WINDOW_BYTES = 256, 33_554_432
WELCOME_S = 5.0  # how long a broker may take to answer HELLO

Command = enum.IntEnum("Command", {
    "HELLO": 0x01, "WELCOME": 0x02, "HEARTBEAT": 0x03, "BYE": 0x04, "BYE_OK": 0x05, "ERROR": 0x06,
    "SUBMIT": 0x10, "ACCEPTED": 0x11, "REFUSED": 0x12, "STRIPS": 0x13, "ACK": 0x14,
    "PROGRESS": 0x15, "DONE": 0x16, "FAILED": 0x17, "CANCEL": 0x18, "KEEP": 0x19, "ATTACH": 0x1A,
    "ATTACHED": 0x1B, "STATUS_QUERY": 0x20, "STATUS_REPORT": 0x21, "JOB_QUERY": 0x22,
    "JOB_REPORT": 0x23, "LIST_QUERY": 0x24, "LIST_REPORT": 0x25, "LEASE": 0x30, "TILE": 0x31,
    "SAMPLES": 0x32, "BAND_FAILED": 0x33, "WITHDRAW": 0x34, "CREDIT": 0x35})
WITH_PAYLOAD = {"STRIPS", "STATUS_REPORT", "JOB_REPORT", "LIST_REPORT", "TILE", "SAMPLES"}


class Lost(Exception):
    """The connection is over, for the reason given; another may do better."""


class Rejected(Exception):
    """The broker says no, and will say it again."""


class Header(dict):
    """The fields of a header, or of a map in it."""

    def __missing__(self, field):
        raise Lost(f"the broker sent a message without `{field}`")


def encode(command, header, payload=None):
    frames = [PREAMBLE, bytes([command]), msgpack.packb(header)]
    return frames if payload is None else [*frames, payload]


def decode(frames):
    """(command, header, payload) of a message; ValueError where it breaks a rule of section 1."""
    frames = frames[1:] if frames and not frames[0] else frames
    if len(frames) not in (3, 4) or frames[0] != PREAMBLE or len(frames[1]) != 1:
        raise ValueError("frames that are no message of version 1")
    command, payload = Command(frames[1][0]), b"".join(frames[3:])
    too_long = len(frames[2]) > HEADER_BYTES_MAX or len(payload) > PAYLOAD_BYTES_MAX
    if too_long or (len(frames) == 4) != (command.name in WITH_PAYLOAD):
        raise ValueError(f"{command.name} in frames of {[len(frame) for frame in frames]} bytes")
    header = msgpack.unpackb(frames[2], object_hook=Header, strict_map_key=False)
    if not isinstance(header, dict) or not all(isinstance(field, str) for field in header):
        raise ValueError(f"{command.name} with a header that is no map with text keys")
    return command, header, payload


def delay_s(tries):
    """How long to wait before connecting again, after so many connections that were of no use."""
    return min(0.1 * 2 ** min(tries, 6), 5.0) * random.uniform(0.5, 1.0)


class Connection:
    """A DEALER socket that has said HELLO. Call `turn` often: it does what every peer must."""

    def __init__(self, endpoint, hello):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.reconnect_ivl = -1  # or the library connects again by itself, without HELLO
        self.socket.maxmsgsize, self.socket.ipv6 = PAYLOAD_BYTES_MAX, True
        self.waiting = deque()  # messages that the window has no room for
        self.unseen, self.seen = deque(), 0  # bytes of each message under way; how many were seen
        self.received, self.heard, self.heartbeat_sent = 0, time.monotonic(), 0.0
        self.welcome, self.heartbeat_s, self.dead_after_s = None, None, WELCOME_S
        self.bands = None  # a worker's function that tells the progress of its leases
        self.socket.connect(endpoint)
        self.send(Command.HELLO, hello)

    def __enter__(self):
        return self

    def __exit__(self, why=Lost, *_):
        """Says BYE, and reads on until all that was said has arrived, unless nobody listens."""
        try:
            if self.welcome and why not in (Lost, Rejected):
                self.send(Command.BYE, {})
                while not any(command is Command.BYE_OK for command, _, _ in self.turn(0.1)):
                    pass
        except Lost:
            pass
        finally:
            self.socket.close(linger=0)

    def send(self, command, header, payload=None):
        """Sends a message once the window has room for it and for what waits before it."""
        self.waiting.append(encode(command, header, payload))
        self.flush()

    def flush(self):
        while self.waiting:
            full = sum(self.unseen) + size(self.waiting[0]) > WINDOW_BYTES
            if self.unseen and (full or len(self.unseen) >= WINDOW_MESSAGES):
                break
            self.put(self.waiting.popleft())

    def put(self, frames):
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            raise Lost("the connection broke") from None
        self.unseen.append(size(frames))

    def heartbeat(self):
        """Says what was received. It waits for no window: the broker may be waiting for this."""
        bands = {"bands": self.bands()} if self.bands else {}
        self.put(encode(Command.HEARTBEAT, {"seen": self.received, **bands}))
        self.heartbeat_sent = time.monotonic()

    def turn(self, wait_s):
        """Sends what is due, and waits `wait_s` seconds at most for a message: [(command, header,
        payload)], or [] if none came, or one that was for the connection alone."""
        now = time.monotonic()
        if self.welcome and now >= self.heartbeat_sent + self.heartbeat_s:
            self.heartbeat()
        if self.socket.poll(wait_s * 1000):
            return self.take(self.socket.recv_multipart())
        if now > self.heard + self.dead_after_s:
            raise Lost(f"heard nothing for {self.dead_after_s:g} s")
        return []

    def take(self, frames):
        try:
            command, header, payload = decode(frames)
        except (ValueError, TypeError) as error:
            raise Lost(f"the broker sent {error}") from None
        self.received, self.heard = self.received + 1, time.monotonic()
        if payload or self.received % 64 == 0:  # so neither 64 messages nor 8 MiB go unacknowledged
            self.heartbeat()
        if command is Command.HEARTBEAT:
            while self.unseen and self.seen < header["seen"]:
                self.unseen.popleft()
                self.seen += 1
            self.flush()
            return []
        if command is Command.ERROR:
            over = Rejected if header["code"] in ("version", "malformed") else Lost
            raise over(f"the broker says {header['code']}: {header['message']}")
        if command is Command.BYE:
            raise Lost(f"the broker leaves ({header.get('reason', 'no reason given')})")
        if command is Command.WELCOME:
            self.welcome, self.heartbeat_s = header, header["heartbeat_ms"] / 1000
            self.dead_after_s = header["dead_after_ms"] / 1000
        return [(command, header, payload)]


def size(frames):
    return sum(map(len, frames))
