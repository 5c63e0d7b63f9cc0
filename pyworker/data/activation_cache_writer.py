"""Writes the files of a cache of activations, byte for byte a function of what they hold.

The layout is that of ``datasets.save_to_disk`` (see activation_cache.py), written without ``datasets``: Arrow
takes the numbers where the model left them, so that writing costs one pass over them for the checksum and one
for the disk.

Shapes: N sequences, S positions kept of each, D d_in of the hook.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pyworker.data.activation_cache import INFO_NAME, STATE_NAME, TOKENS_COLUMN
from pyworker.data.activation_cache_manifest import ShardRecord, write_json
from pyworker.data.storage import sync_folder

# HF datasets knows no bfloat16. Widened to float32 every value is kept, and SAELens reads it.
STORED_DTYPE = {"float32": "float32", "float16": "float16", "bfloat16": "float32"}
MOST_NUMBERS = 2**31 - 1
"""Of one column of a record batch: Arrow's lists count in int32."""


def shard_name(number: int, n_shards: int) -> str:
    """As ``save_to_disk`` names them."""
    return f"data-{number:05d}-of-{n_shards:05d}.arrow"


def batch_header_bytes(n_hooks: int) -> int:
    """What Arrow says of one record batch before its numbers."""
    return 176 + 160 * n_hooks


def file_header_bytes(n_hooks: int) -> int:
    """About what the schema and the end of a file take, a little more than less; long names of hooks add some."""
    return 480 * (n_hooks + 1)


def bytes_per_sequence(d_in: dict[str, int], context: int, dtype: str) -> int:
    """What one sequence takes on disk: its numbers, the offsets of its lists, its tokens."""
    width = np.dtype(STORED_DTYPE[dtype]).itemsize
    return sum(context * (d * width + 4) + 4 for d in d_in.values()) + context * 4


def cache_schema(d_in: dict[str, int], context: int, dtype: str) -> pa.Schema:
    """The Arrow schema of every shard, as HF datasets reads it."""
    stored = STORED_DTYPE[dtype]
    numbers = pa.list_(pa.list_(pa.from_numpy_dtype(np.dtype(stored))))
    columns = [
        pa.field(
            hook,
            numbers,
            metadata={
                "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
                "ARROW:extension:metadata": json.dumps([[context, width], stored]),
            },
        )
        for hook, width in d_in.items()
    ]
    columns.append(pa.field(TOKENS_COLUMN, pa.list_(pa.int32(), context)))
    info = {"info": {"features": _features(d_in, context, stored)}}
    return pa.schema(columns, metadata={"huggingface": json.dumps(info)})


class ShardWriter:
    """One file of a cache. It has its name only when it is whole and on the disk.

    Args:
        path: the file.
        schema: of :func:`cache_schema`.

    Raises:
        OSError: from any method, when the disk is full or not there.
    """

    def __init__(self, path: Path, schema: pa.Schema):
        self._path = path
        self._file = _HashedFile(path.with_name(f"{path.name}.tmp"))
        self._schema = schema
        self._stream = pa.ipc.new_stream(self._file, schema)
        self._rows = 0

    def write(self, activations: Iterable[np.ndarray], token_ids_NS: np.ndarray) -> None:
        """One record batch: for each hook in the schema's order its activations [N, S, D]; int32 tokens."""
        n, context = token_ids_NS.shape
        columns = [_lists(x_NSD) for x_NSD in activations]
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(token_ids_NS.reshape(-1)), context))
        self._stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += n

    @property
    def rows(self) -> int:
        """Sequences written so far."""
        return self._rows

    def finish(self) -> ShardRecord:
        """Everything is written and on the disk, under a name of its own still."""
        self._stream.close()
        self._file.sync()
        self._file.close()
        return ShardRecord(
            file=self._path.name, rows=self._rows, bytes=self._file.size, sha256=self._file.sha256
        )

    def place(self) -> None:
        """Give the finished file its name, in place of another one that may have it."""
        self._file.path.replace(self._path)
        sync_folder(self._path.parent)

    def abandon(self) -> None:
        """Remove the file that has no name yet."""
        self._file.close()
        self._file.path.unlink(missing_ok=True)


def write_dataset_files(
    folder: Path, d_in: dict[str, int], context: int, dtype: str, files: list[str]
) -> None:
    """The two JSON files with which ``datasets.load_from_disk`` takes the folder for a dataset."""
    features = _features(d_in, context, STORED_DTYPE[dtype])
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    write_json(folder / INFO_NAME, info)
    state: dict[str, Any] = {
        "_data_files": [{"filename": file} for file in files],
        "_fingerprint": hashlib.sha256(json.dumps([info, files]).encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / STATE_NAME, state)


def _features(d_in: dict[str, int], context: int, stored_dtype: str) -> dict[str, Any]:
    features: dict[str, Any] = {
        hook: {"shape": [context, width], "dtype": stored_dtype, "_type": "Array2D"}
        for hook, width in d_in.items()
    }
    # "List" in newer versions, which read this name too
    tokens = {"feature": {"dtype": "int32", "_type": "Value"}, "length": context, "_type": "Sequence"}
    return {**features, TOKENS_COLUMN: tokens}


def _lists(x_NSD: np.ndarray) -> pa.ListArray:
    """Nested lists around numbers that stay where they are."""
    n, context, width = x_NSD.shape
    rows = pa.ListArray.from_arrays(_offsets(n * context, width), pa.array(x_NSD.reshape(-1)))
    return pa.ListArray.from_arrays(_offsets(n, context), rows)


@lru_cache(maxsize=16)
def _offsets(n: int, size: int) -> pa.Array:
    return pa.array(np.arange(0, n * size + 1, size, dtype=np.int32))


class _HashedFile:
    """A new file that knows the checksum and the size of what was written to it."""

    def __init__(self, path: Path):
        self.path = path
        self.size = 0
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self.size += len(view)
        done = 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
        return len(view)

    def flush(self) -> None:
        """Nothing is held back."""

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()
