"""Data messages: what is sent is what arrives, and nothing else is read."""

import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pyworker.protocol.frames import FrameCodec, FrameError, column_type, read_header
from pyworker.protocol.messages import Column, FrameHeader

COLUMNS = [
    Column(name="token_id", type="int32", shape=[]),
    Column(name="sequence", type="int64", shape=[]),
    Column(name="activation", type="float32", shape=[5]),
]


def message(rows: int = 7):
    rng = np.random.default_rng(0)
    arrays = [np.arange(rows, dtype="i4"), np.arange(rows) * 2**40, rng.random((rows, 5), np.float32)]
    codec = FrameCodec(COLUMNS, {"hook_name": "blocks.0.hook_mlp_out"})
    n, body = codec.body(arrays)
    header = FrameHeader(stream=3, seq=0, rows=n, dropped=0, step=9)
    return codec, arrays, header, [memoryview(bytes(part)) for part in codec.encode(header, body)]


@pytest.mark.parametrize("rows", [0, 1, 7, 1000])
def test_arrays_arrive_exactly_and_without_a_copy(rows):
    codec, arrays, header, parts = message(rows)
    assert read_header(parts) == header
    back = FrameCodec(COLUMNS, schema=codec.schema).decode(parts, header)
    for sent, seen in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(sent, seen)
        assert rows == 0 or np.shares_memory(seen, np.frombuffer(parts[3], np.uint8))


def test_the_parts_are_a_valid_arrow_stream():
    _, arrays, _, parts = message()
    table = pa.ipc.open_stream(b"".join(parts[1:4])).read_all()
    table.validate(full=True)
    assert table.schema.metadata == {b"hook_name": b"blocks.0.hook_mlp_out"}
    assert table["token_id"].to_pylist() == arrays[0].tolist()
    np.testing.assert_array_equal(np.stack(table["activation"].to_pylist()), arrays[2])


def test_a_frame_with_another_schema_is_refused():
    _, _, header, parts = message()
    other = FrameCodec(COLUMNS, {"hook_name": "another"})
    with pytest.raises(FrameError, match="schema"):
        other.decode(parts, header)


def test_a_frame_with_another_number_of_rows_is_refused():
    codec, _, header, parts = message()
    with pytest.raises(FrameError, match="bytes"):
        codec.decode(parts, FrameHeader(stream=3, seq=0, rows=header.rows + 1, dropped=0, step=None))


def test_types_that_cannot_cross_are_named():
    with pytest.raises(TypeError, match="complex64"):
        column_type(np.zeros(2, np.complex64))


def test_a_record_batch_header_that_a_peer_made_up_is_not_read():
    codec, arrays, _, good = message()
    for value in (0, 127, 255):
        for at in range(len(good[2])):
            made_up = bytearray(good[2])
            made_up[at] = value
            crc = 0
            for part in (good[0], good[1], made_up, good[3]):
                crc = zlib.crc32(part, crc)
            sealed = (good[0], good[1], made_up, good[3], crc.to_bytes(4, "little"))
            parts = [memoryview(bytes(part)) for part in sealed]
            for sent, seen in zip(arrays, codec.decode(parts, read_header(parts)), strict=True):
                np.testing.assert_array_equal(sent, seen)


def fuzz(seed: int, rounds: int) -> int:
    """Number of mutated messages that were refused."""
    rng = random.Random(seed)
    codec, _, _, good = message()
    refused = 0
    for i in range(rounds):
        parts = [bytearray(part) for part in good]
        n = rng.randrange(len(parts))
        match i % 4:
            case 0:
                parts[n][rng.randrange(len(parts[n]))] ^= rng.randrange(1, 256)
            case 1:
                parts[n] = parts[n][: rng.randrange(len(parts[n]))]
            case 2:
                parts[n] += bytes([7]) * rng.randrange(1, 65)
            case 3:
                del parts[n]
        views = [memoryview(part) for part in parts]
        try:
            codec.decode(views, read_header(views))
        except FrameError:
            refused += 1
    return refused


def test_two_thousand_broken_messages_are_refused_by_a_child_that_lives():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    run = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, check=False, text=True, timeout=120
    )
    assert run.stdout.strip() == "2000", run.stderr


if __name__ == "__main__":
    print(fuzz(1, 2000))
