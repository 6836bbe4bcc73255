"""A picture, as section 6 of proto/SPEC.md defines it: requests, strips, sampling, escape times, and the files that strips make.

Nothing here knows of sockets: grid.py speaks to brokers, worker.py and client.py use both.
"""

import struct
import zlib
from dataclasses import asdict, dataclass

import numpy as np

STRIP_BYTES = 262_144
BLOCK_PIXELS = 16_384  # computed together: few enough for the cache, and for no numpy call to take long
STEPS_PER_TICK = 64


@dataclass(frozen=True)
class Request:
    """What to draw. The fields are those of SUBMIT, in its order and with its types."""

    c: tuple[float, float]
    center: tuple[float, float]
    width: float
    size: dict[str, int]
    window: dict[str, int]
    iterations: int
    bailout: float
    colour: dict
    encoding: str

    @classmethod
    def from_wire(cls, fields):
        """The request of a LEASE or of ATTACHED; ValueError names what is wrong with it."""
        try:
            sides = {"size": "wh", "window": "xywh"}
            whole = {name: {side: int(fields[name][side]) for side in sides[name]} for name in sides}
            pairs = {name: (float(fields[name][0]), float(fields[name][1])) for name in ("c", "center")}
            request = cls(**pairs, **whole, width=float(fields["width"]), iterations=int(fields["iterations"]),
                          bailout=float(fields["bailout"]), colour=fields["colour"], encoding=fields["encoding"])
        except (KeyError, IndexError, TypeError, OverflowError) as error:
            raise ValueError(f"a request without a sound {error}") from None
        if request.encoding not in ("counts", "png") or min(request.window["w"], request.window["h"], request.size["w"]) < 1:
            raise ValueError(f"a request for {request.encoding} of {request.window}")
        return request

    def to_wire(self):
        return asdict(self)

    def row_bytes(self):
        """Bytes of a raw row: u32 counts, or a PNG filter's type and RGB."""
        return 4 * self.window["w"] if self.encoding == "counts" else 3 * self.window["w"] + 1


class Strips:
    """How the rows of a request are cut. It depends on the request alone."""

    def __init__(self, request):
        self.height = request.window["h"]
        self.rows_per_strip = max(1, min(self.height, STRIP_BYTES // request.row_bytes()))
        self.count = -(-self.height // self.rows_per_strip)
        outer = self.height - (self.count - 2) * self.rows_per_strip
        self.first_rows = self.height if self.count == 1 else -(-outer // 2)

    def start(self, strip):
        """The first row of a strip; of the one after the last, the height."""
        if strip == 0 or strip >= self.count:
            return 0 if strip == 0 else self.height
        return self.first_rows + (strip - 1) * self.rows_per_strip

    def rows(self, strip):
        return self.start(strip + 1) - self.start(strip)


def sample(request, columns, rows):
    """The points for columns and rows of the window, as arrays x and y. The order of operations is part of the definition."""
    w, h = request.size["w"], request.size["h"]
    step = request.width / w
    x = request.center[0] + ((request.window["x"] + columns + 0.5) - w / 2) * step
    y = request.center[1] - ((request.window["y"] + rows + 0.5) - h / 2) * step
    return x, y


def escape_times(request, x, y, tick=lambda: None):
    """The count of each point. numpy rounds each operation to nearest and fuses none, so these are the bits of any other worker.

    `tick` is called every few steps; what it raises ends the computation.
    """
    counts = np.full(x.shape, request.iterations, np.uint32)
    at = np.arange(x.size)
    (c_re, c_im), radius2 = request.c, request.bailout * request.bailout
    for n in range(request.iterations):
        if n % STEPS_PER_TICK == 0:
            tick()
        escaped = x * x + y * y > radius2
        if escaped.any():
            counts[at[escaped]] = n
            alive = ~escaped
            x, y, at = x[alive], y[alive], at[alive]
            if not at.size:
                break
        x, y = ((x + y) * (x - y)) + c_re, (x * y + x * y) + c_im
    return counts


def counts_of_rows(request, rows, tick=lambda: None):
    """The counts of the given rows of the window (an array of their numbers), as u32 of shape (rows, columns)."""
    width = request.window["w"]
    counts = np.empty(rows.size * width, np.uint32)
    for begin in range(0, counts.size, BLOCK_PIXELS):
        pixels = np.arange(begin, min(begin + BLOCK_PIXELS, counts.size))
        x, y = sample(request, pixels % width, rows[pixels // width])
        counts[pixels] = escape_times(request, x, y, tick)
    return counts.reshape(-1, width)


def combine_adler32(first, second, second_bytes):
    """The Adler-32 of two runs of bytes, from that of each and the length of the second."""
    a = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % 65_521
    b = ((first >> 16) + (second >> 16) + second_bytes * ((first & 0xFFFF) - 1)) % 65_521
    return b << 16 | a


class Png:
    """A PNG made of strips, which are taken as they are: each becomes one IDAT chunk."""

    def __init__(self, file, request):
        self.file, self.adler = file, 1
        file.write(b"\x89PNG\r\n\x1a\n")
        self.chunk(b"IHDR", struct.pack(">IIBBBBB", request.window["w"], request.window["h"], 8, 2, 0, 0, 0))
        self.head = b"\x78\x01"

    def chunk(self, kind, data):
        self.file.write(struct.pack(">I", len(data)) + kind)
        self.file.write(data)
        self.file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))

    def strip(self, encoded, adler, raw_bytes):
        self.chunk(b"IDAT", self.head + encoded)
        self.head, self.adler = b"", combine_adler32(self.adler, adler, raw_bytes)

    def end(self):
        self.chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self.adler))
        self.chunk(b"IEND", b"")


class Npy:
    """An array of counts, u32 and height x width, as numpy.load reads it."""

    def __init__(self, file, request):
        self.file = file
        shape = (request.window["h"], request.window["w"])
        np.lib.format.write_array_header_1_0(file, {"descr": "<u4", "fortran_order": False, "shape": shape})

    def strip(self, encoded, adler, raw_bytes):
        if len(encoded) != raw_bytes or zlib.adler32(encoded) != adler:
            raise ValueError(f"a strip of {len(encoded)} bytes is not the {raw_bytes} that its Adler-32 is of")
        self.file.write(encoded)

    def end(self):
        pass
