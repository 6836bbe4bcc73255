"""The picture that all compute, and how: the escape times of a Julia set, to the bit as fractal/src/escape.rs and scene.rs
define them.

Every operation is one of doubles, rounded to nearest, in the order given there; numba fuses none of them unless it is told to.
So every peer's counts are Fractally's own, and are compared with them. What the peers' tasks need is here too: a worker imports
this file.
"""

from dataclasses import dataclass

import numpy as np
from numba import get_num_threads, njit, prange, set_num_threads


@dataclass(frozen=True)
class Scene:
    """The constant, the size in pixels, the width of the view round 0 in plane units, the iteration limit; the radius is 2."""

    c: complex = -0.8 + 0.156j
    columns: int = 4000
    rows: int = 2000
    width: float = 4.0
    limit: int = 256

    def __post_init__(self):
        if not 1 <= self.limit <= 65535:
            raise ValueError(f"limit is {self.limit}; counts are u16 here, so it has to lie in [1, 65535]")

    def rows_of(self, index, bands):
        """First row of a band, and the row after its last: bands of equal height, give or take a row."""
        return index * self.rows // bands, (index + 1) * self.rows // bands

    def rule(self):
        """What every kernel takes last."""
        return self.c.real, self.c.imag, self.columns, self.rows, self.width, self.limit


@njit(nogil=True, fastmath=False, cache=True)
def counts_of_row(row, re, im, columns, rows, width, limit, out):
    """Writes the escape times of one row."""
    step = width / columns
    y0 = 0.0 - (row + 0.5 - rows / 2.0) * step
    for column in range(columns):
        x, y = 0.0 + (column + 0.5 - columns / 2.0) * step, y0
        count = 0
        while count < limit and not x * x + y * y > 4.0:
            xy = x * y
            x, y = (x + y) * (x - y) + re, (xy + xy) + im
            count += 1
        out[column] = count


@njit(nogil=True, fastmath=False, cache=True)
def counts_of_rows(first, end, re, im, columns, rows, width, limit):
    """The escape times of the rows from `first` to before `end`."""
    out = np.empty((end - first, columns), np.uint16)
    for row in range(first, end):
        counts_of_row(row, re, im, columns, rows, width, limit, out[row - first])
    return out


@njit(nogil=True, fastmath=False, parallel=True)
def counts_on_threads(re, im, columns, rows, width, limit):
    """All escape times, on numba's threads. Rows are dealt out in turn, so that all threads have as much of the costly middle."""
    out = np.empty((rows, columns), np.uint16)
    threads = get_num_threads()
    for thread in prange(threads):
        for row in range(thread, rows, threads):
            counts_of_row(row, re, im, columns, rows, width, limit, out[row])
    return out


def band(index, scene, bands):
    """A task: the counts of one band."""
    first, end = scene.rows_of(index, bands)
    return counts_of_rows(first, end, *scene.rule())


def nothing(_=None):
    """A task that computes nothing. It answers one byte."""
    return b"\0"


def whole(scene, threads):
    """The reference: all counts, by so many threads of this process."""
    set_num_threads(threads)
    return counts_on_threads(*scene.rule())


class Assembly:
    """The array that bands are copied into as they come."""

    def __init__(self, scene, bands):
        self.scene, self.bands, self.missing = scene, bands, bands
        self.array = np.empty((scene.rows, scene.columns), np.uint16)

    def put(self, index, counts):
        first, end = self.scene.rows_of(index, self.bands)
        self.array[first:end] = counts
        self.missing -= 1

    def complete(self):
        if self.missing:
            raise RuntimeError(f"{self.missing} of {self.bands} bands are missing")
        return self.array
