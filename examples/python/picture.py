"""A picture, as section 6 of proto/SPEC.md defines it: requests, strips, sampling, escape times,
and the files that strips make. Nothing here knows of sockets.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

STRIP_BYTES = 262_144
BLOCK_PIXELS = 16_384  # computed together: few enough for the cache, and for a step to be short
STEPS_PER_TICK = 64


@dataclass(frozen=True)
class Request:
    """What to draw. The fields are those of SUBMIT, in its order and with its types."""

    c: tuple
    center: tuple
    width: float
    size: dict
    window: dict
    iterations: int
    bailout: float
    colour: dict
    encoding: str

    @classmethod
    def from_wire(cls, fields):
        return cls(*(fields[name] for name in cls.__dataclass_fields__))

    def to_wire(self):
        return vars(self)

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
        self.first_rows = -(-outer // 2)

    def start(self, strip):
        """The first row of a strip; of the one after the last, the height."""
        row = self.first_rows + (strip - 1) * self.rows_per_strip
        return max(0, min(row, self.height))

    def rows(self, strip):
        return self.start(strip + 1) - self.start(strip)


def sample(request, columns, rows):
    """The points for columns and rows of the window. The order of operations is part of it."""
    (re, im), window, w, h = request.center, request.window, request.size["w"], request.size["h"]
    step = request.width / w
    return (re + ((window["x"] + columns + 0.5) - w / 2) * step,
            im - ((window["y"] + rows + 0.5) - h / 2) * step)


def escape_times(request, x, y, tick):
    """The count of each point. numpy rounds every operation and fuses none: any worker's bits.

    `tick` is called every few steps; what it raises ends the computation.
    """
    counts, at = np.full(x.shape, request.iterations, np.uint32), np.arange(x.size)
    c_re, c_im = request.c
    for n in range(request.iterations):
        if n % STEPS_PER_TICK == 0:
            tick()
        escaped = x * x + y * y > request.bailout * request.bailout
        if escaped.any():
            counts[at[escaped]] = n
            x, y, at = x[~escaped], y[~escaped], at[~escaped]
            if not at.size:
                break
        x, y = ((x + y) * (x - y)) + c_re, (x * y + x * y) + c_im
    return counts


def counts_of_rows(request, rows, tick=lambda: None):
    """The counts of rows of the window, given by their numbers, as u32 of (rows, columns)."""
    width = request.window["w"]
    counts = np.empty(rows.size * width, np.uint32)
    for begin in range(0, counts.size, BLOCK_PIXELS):
        pixels = np.arange(begin, min(begin + BLOCK_PIXELS, counts.size))
        x, y = sample(request, pixels % width, rows[pixels // width])
        counts[pixels] = escape_times(request, x, y, tick)
    return counts.reshape(-1, width)


class Png:
    """A PNG made of strips, which are taken as they are: each becomes one IDAT chunk."""

    def __init__(self, file, request):
        self.file, self.a, self.b, self.head = file, 1, 0, b"\x78\x01"
        file.write(b"\x89PNG\r\n\x1a\n")
        size = request.window["w"], request.window["h"]
        self.chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))

    def chunk(self, kind, data):
        self.file.write(struct.pack(">I", len(data)) + kind + data)
        self.file.write(struct.pack(">I", zlib.crc32(kind + data)))

    def strip(self, encoded, adler, raw_bytes):
        self.chunk(b"IDAT", self.head + encoded)
        a, b, self.head = adler & 0xFFFF, adler >> 16, b""
        self.b = (self.b + b + raw_bytes * (self.a - 1)) % 65_521
        self.a = (self.a + a - 1) % 65_521

    def end(self):
        self.chunk(b"IDAT", b"\x03\x00" + struct.pack(">HH", self.b, self.a))
        self.chunk(b"IEND", b"")


class Npy:
    """An array of counts, u32 and height x width, as numpy.load reads it."""

    def __init__(self, file, request):
        self.file, shape = file, (request.window["h"], request.window["w"])
        head = {"descr": "<u4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)

    def strip(self, encoded, adler, raw_bytes):
        if len(encoded) != raw_bytes or zlib.adler32(encoded) != adler:
            raise ValueError("a strip of counts that are not those of its Adler-32")
        self.file.write(encoded)

    def end(self):
        pass
