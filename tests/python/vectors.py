"""The modules of examples/python against proto/vectors.json. It needs no broker."""

import hashlib
import io
import json
import pathlib
import unittest
import zlib

import numpy as np

from grid import Command, Lost, decode, encode
from picture import Npy, Png, Request, Strips, counts_of_rows, sample

ROOT = pathlib.Path(__file__).resolve().parents[2]


def with_bytes(fields):
    return bytes.fromhex(fields["hex"]) if set(fields) == {"hex"} else fields


VECTORS = json.loads((ROOT / "proto" / "vectors.json").read_text(), object_hook=with_bytes)


def command_named(name):
    """The command that SPEC.md's examples call StatusQuery, and its tables STATUS_QUERY."""
    return Command["".join("_" + letter if letter.isupper() else letter for letter in name).lstrip("_").upper()]


def frames_of(told):
    return [bytes(frame["zeros"]) if isinstance(frame, dict) else bytes.fromhex(frame) for frame in told]


def request_of(told):
    return Request.from_wire(told)


class Vectors(unittest.TestCase):
    def each(self, name, least, check):
        self.assertGreaterEqual(len(VECTORS[name]), least, name)
        for number, vector in enumerate(VECTORS[name]):
            with self.subTest(name, number=number, what=vector.get("what") or vector.get("why") or vector.get("name")):
                check(vector)

    def test_messages_are_read_and_written_alike(self):
        def check(vector):
            frames = frames_of(vector["frames"])
            command, header, payload = decode(frames)
            self.assertEqual((command, header), (command_named(vector["name"]), vector["fields"]))
            self.assertEqual(encode(command, vector["fields"], payload if len(frames) == 4 else None), frames)
        self.each("messages", 30, check)

    def test_messages_that_are_written_otherwise_are_read(self):
        def check(vector):
            command, header, _ = decode(frames_of(vector["frames"]))
            self.assertEqual(command, command_named(vector["name"]))
            self.assertEqual({name: header[name] for name in vector["fields"]}, vector["fields"])
        self.each("also_read", 5, check)

    def test_malformed_messages_are_refused(self):
        """Those with a field that is missing, once it is asked for. What else is wrong with fields is left to brokers."""
        left = []

        def check(vector):
            command, *what = vector["why"].split()
            if command in Command.__members__ and what[0] == "without":
                with self.assertRaises(Lost):
                    decode(frames_of(vector["frames"]))[1][what[1]]
            elif command in Command.__members__ or vector["why"] in ("nested 9 deep", "a field twice"):
                left.append(vector)
            else:
                with self.assertRaises(ValueError):
                    decode(frames_of(vector["frames"]))
        self.each("malformed", 30, check)
        self.assertLess(len(left), 15)

    def test_strips(self):
        def check(vector):
            size = {"w": vector["w"], "h": vector["h"]}
            strips = Strips(Request((0, 0), (0, 0), 4.0, size, {"x": 0, "y": 0, **size}, 1, 2.0, {}, vector["encoding"]))
            self.assertEqual((strips.rows_per_strip, strips.count), (vector["rows_per_strip"], vector["strips"]))
            for strip, row in vector["strip_and_first_row"]:
                self.assertEqual(strips.start(strip), row)
            self.assertEqual(strips.start(strips.count), vector["h"])
        self.each("strips", 20, check)

    def test_points(self):
        def check(vector):
            columns, rows, x, y = (np.array(values) for values in zip(*vector["column_row_x_y"]))
            found = sample(request_of(vector["request"]), columns, rows)
            self.assertEqual([values.tobytes() for values in found], [x.tobytes(), y.tobytes()], "to the bit")
        self.each("points", 8, check)

    def test_counts(self):
        def check(vector):
            request = request_of(vector["request"])
            counts = counts_of_rows(request, np.arange(request.window["h"]))
            for row, expected in vector["row_and_counts"]:
                self.assertEqual(counts[row].tolist(), expected)
            raw = counts.astype("<u4").tobytes()
            self.assertEqual((zlib.crc32(raw), zlib.adler32(raw)), (vector["crc32"], vector["adler32"]))
            self.assertEqual(int(counts.sum(dtype=np.uint64)), vector["iterations"])
        self.each("counts", 8, check)

    def test_content_ids_are_those_of_the_requests_as_they_are_written(self):
        def check(vector):
            written = encode(Command.SUBMIT, request_of(vector["request"]).to_wire())[2]
            self.assertEqual(hashlib.sha256(written).digest()[:16].hex(), vector["content"])
        self.each("counts", 8, check)

    def test_heads_of_files(self):
        def check(vector):
            request, file = request_of(vector["request"]), io.BytesIO()
            (Npy if request.encoding == "counts" else Png)(file, request)
            self.assertEqual(file.getvalue(), vector["bytes"])
        self.each("heads", 4, check)

    def test_files(self):
        def check(vector):
            request, file = request_of(vector["request"]), io.BytesIO()
            strips, picture = Strips(request), (Npy if request.encoding == "counts" else Png)(file, request)
            self.assertEqual(len(vector["strips"]), strips.count)
            for number, strip in enumerate(vector["strips"]):
                picture.strip(strip["encoded"], strip["adler32"], strips.rows(number) * request.row_bytes())
            picture.end()
            self.assertEqual(len(file.getvalue()), vector["length"])
            self.assertEqual(hashlib.sha256(file.getvalue()).hexdigest(), vector["sha256"])
        self.each("files", 4, check)

    def test_a_wrong_strip_of_counts_is_noticed(self):
        vector = next(vector for vector in VECTORS["files"] if vector["request"]["encoding"] == "counts")
        request = request_of(vector["request"])
        encoded, adler = vector["strips"][0]["encoded"], vector["strips"][0]["adler32"]
        for wrong in (encoded[:-1], encoded[:-1] + b"\xff"):
            with self.assertRaises(ValueError):
                Npy(io.BytesIO(), request).strip(wrong, adler, len(encoded))


if __name__ == "__main__":
    unittest.main()
