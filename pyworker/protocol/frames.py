"""Data messages: numpy arrays to Arrow frames and back, checked before Arrow reads a byte.

A message has five parts: header (JSON), Arrow schema, record-batch header, body, CRC-32 of the four before.
Parts two to four are a valid Arrow IPC stream. The body is one buffer, so a receiver gets views of it without
a copy. Fixed-width columns without nulls only: a broken frame with strings can crash pyarrow
(reference/faults.md B2.4).
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pyworker.protocol.messages import MALFORMED, Column, FrameHeader

MAX_MESSAGE_BYTES = 1 << 30
PARTS = 5

# bfloat16 has no Arrow type: its bits travel as uint16, and the field's metadata says so.
_NUMPY = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "uint8": np.dtype("u1"),
}
_ARROW = {
    "float64": pa.float64(),
    "float32": pa.float32(),
    "float16": pa.float16(),
    "bfloat16": pa.uint16(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "uint8": pa.uint8(),
}
_header_decoder = msgspec.json.Decoder(FrameHeader)


class FrameError(Exception):
    """A data message that must not be read: wrong parts, length, schema, checksum or content."""


def column_type(array: np.ndarray) -> str:
    """The border's name of a numpy dtype.

    Raises:
        TypeError: the dtype has no fixed-width counterpart on the border.
    """
    for name, dtype in _NUMPY.items():
        if array.dtype == dtype and name != "bfloat16":
            return name
    raise TypeError(f"Cannot send an array of {array.dtype}: allowed are {', '.join(_NUMPY)}")


def _width(column: Column) -> int:
    """Numbers in one row of the column."""
    return int(np.prod(column.shape, dtype=np.int64))


def _padded(n_bytes: int) -> int:
    return (n_bytes + 7) & ~7


def _layout(columns: Sequence[Column], rows: int) -> tuple[list[tuple[int, int]], int]:
    """(offset, bytes) of each column in the body, and the length of the body. Arrow pads each buffer to 8
    bytes.
    """
    places, offset = [], 0
    for column in columns:
        n_bytes = rows * _width(column) * _NUMPY[column.type].itemsize
        places.append((offset, n_bytes))
        offset += _padded(n_bytes)
    return places, offset


class FrameCodec:
    """Encodes and decodes the frames of one stream.

    Args:
        columns: what each row holds.
        metadata: constant facts kept in the Arrow schema (hook name, dtype).
        schema: the bytes the sender announced; built here when absent (the sending side).

    Raises:
        FrameError: a row of these columns fits in no message.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        metadata: Mapping[str, str] | None = None,
        schema: bytes | None = None,
    ):
        self.columns = list(columns)
        for column in self.columns:
            if min(column.shape, default=0) < 0 or math.prod(column.shape) > MAX_MESSAGE_BYTES:
                raise FrameError(f'A row of column "{column.name}" has the shape {column.shape}')
        if schema is None:
            schema = _schema_bytes(msgspec.json.encode(self.columns), tuple(sorted((metadata or {}).items())))
        self.schema = schema

    def body(self, arrays: Sequence[np.ndarray]) -> tuple[int, np.ndarray]:
        """Copies the columns (one array each, first dimension = rows) into a fresh body: (rows, body)."""
        rows = len(arrays[0])
        places, total = _layout(self.columns, rows)
        body = np.zeros(total, np.uint8) if total < 4096 else np.empty(total, np.uint8)
        for column, array, (offset, n_bytes) in zip(self.columns, arrays, places, strict=True):
            if array.shape != (rows, *column.shape):
                raise ValueError(
                    f'Column "{column.name}" has shape {list(array.shape)}, expected {[rows, *column.shape]}'
                )
            body[offset : offset + n_bytes].view(_NUMPY[column.type])[:] = array.reshape(-1)
            body[offset + n_bytes : offset + _padded(n_bytes)] = 0
        return rows, body

    def encode(self, header: FrameHeader, body: np.ndarray) -> list[Any]:
        """The five parts of one message. ``body`` must not change until they are sent."""
        batch = _batch_bytes(self.schema, msgspec.json.encode(self.columns), header.rows)
        parts: list[Any] = [msgspec.json.encode(header), self.schema, batch, memoryview(body)]
        return [*parts, _crc(parts).to_bytes(4, "little")]

    def decode(self, parts: Sequence[memoryview], header: FrameHeader) -> list[np.ndarray]:
        """Views of the columns, one array each, in the order of ``columns``; no copy. Where they lie follows from
        the announced columns and the number of rows, so nothing that a peer wrote is read by Arrow itself, which a
        made-up header can crash.

        Raises:
            FrameError: the message is not exactly what was announced.
        """
        _, schema, _, body, _ = parts
        if bytes(schema) != self.schema:
            raise FrameError("The schema of the frame is not the announced one")
        places, total = _layout(self.columns, header.rows)
        if body.nbytes != total:
            raise FrameError(f"The body has {body.nbytes} bytes, {header.rows} rows need {total}")
        if header.rows > 0 and not self.columns:
            raise FrameError(f"{header.rows} rows without a column")
        return [
            np.frombuffer(
                body, _NUMPY[c.type], count=n_bytes // _NUMPY[c.type].itemsize, offset=offset
            ).reshape(header.rows, *c.shape)
            for c, (offset, n_bytes) in zip(self.columns, places, strict=True)
        ]


def read_header(parts: Sequence[memoryview]) -> FrameHeader:
    """The header of a message whose number of parts, lengths and checksum are right.

    Raises:
        FrameError: they are not.
    """
    if len(parts) != PARTS:
        raise FrameError(f"A data message has {PARTS} parts, this one {len(parts)}")
    if len(parts[4]) != 4 or _crc(parts[:4]) != int.from_bytes(parts[4], "little"):
        raise FrameError("The checksum of the frame is wrong")
    try:
        return _header_decoder.decode(parts[0])
    except MALFORMED as error:
        raise FrameError(f"The header of the frame is wrong: {error}") from error


def _crc(parts: Sequence[Any]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def _arrow_schema(columns: Sequence[Column], metadata: Mapping[str, str]) -> pa.Schema:
    fields = []
    for c in columns:
        kind = (
            pa.list_(pa.field("item", _ARROW[c.type], nullable=False), _width(c))
            if c.shape
            else _ARROW[c.type]
        )
        fields.append(
            pa.field(
                c.name, kind, nullable=False, metadata={"dtype": c.type} if c.type == "bfloat16" else None
            )
        )
    return pa.schema(fields, metadata=dict(metadata) or None)


# Cached by content, not by stream: a notebook that encodes a shape again pays for Arrow's own writer once.
@lru_cache(maxsize=256)
def _schema_bytes(columns_json: bytes, metadata: tuple[tuple[str, str], ...]) -> bytes:
    columns = msgspec.json.decode(columns_json, type=list[Column])
    return _arrow_schema(columns, dict(metadata)).serialize().to_pybytes()


@lru_cache(maxsize=1024)
def _batch_bytes(schema_bytes: bytes, columns_json: bytes, rows: int) -> bytes:
    """The record-batch header of ``rows`` rows: the same for each batch of this shape, whatever it holds."""
    columns = msgspec.json.decode(columns_json, type=list[Column])
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    places, total = _layout(columns, rows)
    body = pa.py_buffer(np.zeros(total, np.uint8))
    arrays = []
    for c, (offset, n_bytes), field in zip(columns, places, schema, strict=True):
        values = pa.Array.from_buffers(
            _ARROW[c.type],
            rows * (_width(c) if c.shape else 1),
            [None, body.slice(offset, n_bytes)],
            null_count=0,
        )
        arrays.append(
            pa.Array.from_buffers(field.type, rows, [None], null_count=0, children=[values])
            if c.shape
            else values
        )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        end = sink.tell()
    return sink.getvalue()[len(schema_bytes) : end - total].to_pybytes()
