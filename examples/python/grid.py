"""One connection to a broker: frames, HELLO, heartbeats and the send window, as sections 1 and 2 of proto/SPEC.md have them.

What is said over it is the business of worker.py and client.py. A connection that is lost stays lost: they make a new one.
"""

import enum
import random
import time
from collections import deque

import msgpack
import zmq

PREAMBLE = b"FRLY\x01"
HEADER_BYTES_MAX, HEADER_DEPTH_MAX, PAYLOAD_BYTES_MAX = 4_096, 8, 8_388_608
WINDOW_MESSAGES, WINDOW_BYTES = 256, 33_554_432
ACK_MESSAGES, ACK_BYTES = 64, 8_388_608
WELCOME_S = 5.0  # how long a broker may take to answer HELLO

Command = enum.IntEnum("Command", {
    "HELLO": 0x01, "WELCOME": 0x02, "HEARTBEAT": 0x03, "BYE": 0x04, "BYE_OK": 0x05, "ERROR": 0x06,
    "SUBMIT": 0x10, "ACCEPTED": 0x11, "REFUSED": 0x12, "STRIPS": 0x13, "ACK": 0x14, "PROGRESS": 0x15, "DONE": 0x16,
    "FAILED": 0x17, "CANCEL": 0x18, "KEEP": 0x19, "ATTACH": 0x1A, "ATTACHED": 0x1B,
    "STATUS_QUERY": 0x20, "STATUS_REPORT": 0x21, "JOB_QUERY": 0x22, "JOB_REPORT": 0x23, "LIST_QUERY": 0x24, "LIST_REPORT": 0x25,
    "LEASE": 0x30, "TILE": 0x31, "SAMPLES": 0x32, "BAND_FAILED": 0x33, "WITHDRAW": 0x34, "CREDIT": 0x35,
})
WITH_PAYLOAD = {Command[name] for name in ("STRIPS", "STATUS_REPORT", "JOB_REPORT", "LIST_REPORT", "TILE", "SAMPLES")}
# The required fields of what brokers send to clients and workers.
FIELDS = {
    "WELCOME": {"agent": str, "epoch": int, "heartbeat_ms": int, "dead_after_ms": int},
    "HEARTBEAT": {"seen": int},
    "ERROR": {"code": str, "message": str},
    "ACCEPTED": {"key": bytes, "job": int, "strips": int, "rows_per_strip": int},
    "REFUSED": {"key": bytes, "refusal": dict},
    "STRIPS": {"job": int, "engine": str, "first": int, "strips": list},
    "PROGRESS": {"job": int, "rows": int, "workers": int, "workers_all": int},
    "DONE": {"job": int, "engine": str, "iterations": int, "compute_ns": int, "elapsed_ms": int, "bands": int, "attempts": int,
             "workers": int},
    "FAILED": {"job": int, "reason": str},
    "LEASE": {"job": int, "attempt": int, "lease_ms": int, "kind": dict, "request": dict},
    "WITHDRAW": {"attempt": int},
}


class Lost(Exception):
    """The connection is over, for the reason given; another may do better."""


class Rejected(Exception):
    """The broker does not understand what we say, and will not when we say it again."""


def encode(command, header, payload=None):
    return [PREAMBLE, bytes([command]), msgpack.packb(header)] + ([] if payload is None else [payload])


def decode(frames):
    """(command, header, payload) of a message; ValueError where it breaks a rule."""
    frames = frames[1:] if frames and not frames[0] else frames
    if len(frames) not in (3, 4):
        raise ValueError(f"a message of {len(frames)} frames")
    if frames[0] != PREAMBLE:
        raise ValueError(f"not of version 1: {frames[0][:8]!r}")
    if len(frames[1]) != 1 or frames[1][0] not in list(Command):
        raise ValueError(f"an unknown command {frames[1][:8]!r}")
    command = Command(frames[1][0])
    if len(frames[2]) > HEADER_BYTES_MAX:
        raise ValueError(f"a header of {len(frames[2])} bytes, over {HEADER_BYTES_MAX}")
    if (len(frames) == 4) != (command in WITH_PAYLOAD):
        raise ValueError(f"{command.name} with or without a payload that it should not have or have")
    payload = frames[3] if len(frames) == 4 else b""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a payload of {len(payload)} bytes, over {PAYLOAD_BYTES_MAX}")
    header = msgpack.unpackb(frames[2], object_pairs_hook=unique, strict_map_key=False)
    if not isinstance(header, dict) or depth(header) > HEADER_DEPTH_MAX or not all(isinstance(key, str) for key in header):
        raise ValueError(f"{command.name} with a header that is not a map with text keys, at most {HEADER_DEPTH_MAX} deep")
    for field, kind in FIELDS.get(command.name, {}).items():
        value = header.get(field)
        if type(value) is not kind or kind is int and value < 0:
            raise ValueError(f"{command.name} without a sound `{field}`")
    return command, header, payload


def unique(pairs):
    if len(fields := dict(pairs)) != len(pairs):
        raise ValueError("a header with a field that comes twice")
    return fields


def depth(value):
    """How deep maps and arrays that hold anything are nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner)) if inner else 0


def delays():
    """Seconds to wait before each further try to connect."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(2 * delay, 5.0)


class Connection:
    """A DEALER socket that has said HELLO. Call `turn` often: it sends heartbeats, and notices when the broker has gone."""

    def __init__(self, endpoint, hello):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        # The library would reconnect by itself, without HELLO; and it must not fill memory with one frame.
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, PAYLOAD_BYTES_MAX)
        self.socket.setsockopt(zmq.IPV6, 1)
        self.monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.monitor, zmq.POLLIN)
        self.waiting, self.under_way, self.under_way_bytes, self.seen = deque(), deque(), 0, 0
        self.received, self.fresh, self.fresh_bytes = 0, 0, 0
        self.welcome, self.heartbeat_s, self.dead_after_s = None, None, WELCOME_S
        self.heard = self.heartbeat_sent = time.monotonic()
        self.over = None
        self.bands = None  # a worker's function that tells the progress of its leases
        self.socket.connect(endpoint)
        self.send(Command.HELLO, hello)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=0)

    def send(self, command, header, payload=None):
        """Sends a message once the window has room for it and for what waits before it."""
        self.waiting.append(encode(command, header, payload))
        self.flush()

    def flush(self):
        while self.waiting:
            room = len(self.under_way) < WINDOW_MESSAGES and self.under_way_bytes + size(self.waiting[0]) <= WINDOW_BYTES
            if self.under_way and not room:
                break
            self.put(self.waiting.popleft())

    def put(self, frames):
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            raise Lost("the broker takes nothing") from None
        self.under_way.append(size(frames))
        self.under_way_bytes += size(frames)

    def heartbeat(self):
        """Says what has been received. It does not wait for the window: the other side may be waiting for just this."""
        self.put(encode(Command.HEARTBEAT, {"seen": self.received} | ({"bands": self.bands()} if self.bands else {})))
        self.fresh, self.fresh_bytes, self.heartbeat_sent = 0, 0, time.monotonic()

    def turn(self, wait_s, *others):
        """Sends what is due, waits up to `wait_s` seconds for anything to come in, and returns the messages that did.

        WELCOME comes back as well; `others` are sockets that end the waiting too. Lost says that the connection is over.
        """
        if self.over:
            raise self.over
        for other in others:
            self.poller.register(other, zmq.POLLIN)
        if self.welcome:
            due_s = self.heartbeat_sent + self.heartbeat_s - time.monotonic()
            if due_s <= 0:
                self.heartbeat()
            wait_s = min(wait_s, due_s if due_s > 0 else self.heartbeat_s)
        ready = dict(self.poller.poll(max(0, wait_s) * 1000))
        messages = []
        while not self.over and len(messages) < ACK_MESSAGES and self.socket.poll(0):
            try:
                messages += self.take(self.socket.recv_multipart())
            except (Lost, Rejected) as over:
                self.over = over  # for the next turn: what came before it counts
        if not messages and not self.over:
            if self.monitor in ready:
                raise Lost("the connection broke" if self.welcome else "nobody listens there")
            if time.monotonic() - self.heard > self.dead_after_s:
                raise Lost(f"heard nothing for {self.dead_after_s:g} s")
        self.flush()
        return messages

    def take(self, frames):
        """Does what every connection must with a message, and returns it in a list if there is more to do."""
        try:
            command, header, payload = decode(frames)
        except ValueError as error:
            raise Lost(f"the broker sent {error}") from None
        self.heard = time.monotonic()
        self.received, self.fresh, self.fresh_bytes = self.received + 1, self.fresh + 1, self.fresh_bytes + size(frames)
        if command is Command.ERROR:
            raise (Rejected if header["code"] in ("version", "malformed") else Lost)(f"the broker says: {header['message']}")
        if (command is Command.WELCOME) == bool(self.welcome):
            raise Lost(f"the broker sent {command.name} where it should not")
        if command is Command.WELCOME:
            self.welcome = header
            self.heartbeat_s, self.dead_after_s = header["heartbeat_ms"] / 1000, header["dead_after_ms"] / 1000
        if command is Command.HEARTBEAT:
            if not self.seen <= header["seen"] <= self.seen + len(self.under_way):
                raise Lost(f"the broker says that it has seen {header['seen']} messages, which cannot be")
            for _ in range(header["seen"] - self.seen):
                self.under_way_bytes -= self.under_way.popleft()
            self.seen = header["seen"]
        if self.fresh >= ACK_MESSAGES or self.fresh_bytes >= ACK_BYTES:
            self.heartbeat()
        if command is Command.BYE:
            raise Lost(f"the broker leaves ({header.get('reason') or 'no reason given'})")
        return [] if command is Command.HEARTBEAT else [(command, header, payload)]

    def leave(self, reason):
        """Says BYE, and waits until all that was said before has arrived; not for ever."""
        self.send(Command.BYE, {"reason": reason})
        end = time.monotonic() + self.dead_after_s
        try:
            while time.monotonic() < end:
                if any(command is Command.BYE_OK for command, _, _ in self.turn(0.1)):
                    return
        except Lost:
            pass


def size(frames):
    return sum(map(len, frames))
