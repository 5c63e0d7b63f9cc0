"""Sequences of token ids as a Hugging Face dataset: the folder of ``save_to_disk``, or parquet files for the hub.

The schema carries no metadata of the ``datasets`` library, so that versions before and after 4, which name lists
differently, read it. Column ``input_ids``: int32, a list of exactly ``context_size``.

Shapes: S sequences, C context.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pyworker.data.storage import new_file

COLUMN = "input_ids"
SHARD_BYTES = 500_000_000
"""As large as the shards of ``save_to_disk``."""
BATCH_ROWS = 1000
"""Rows of a record batch, as ``datasets`` writes them: what a reader takes at a time."""

Told = Callable[[int], None]


class Pieces:
    """Sequences that lie in several arrays, numbered through.

    Args:
        parts: int32 SC each.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, index_S: np.ndarray) -> np.ndarray:
        """Copies of the sequences ``index_S``; read in the order in which they lie on the disk."""
        order = np.argsort(index_S, kind="stable")
        ascending = index_S[order]
        part_S = np.searchsorted(self._ends, ascending, side="right")
        rows_SC = np.empty((len(index_S), self._parts[0].shape[1]), dtype=np.int32)
        for part in np.unique(part_S):
            of_part = part_S == part
            begin = self._ends[part] - len(self._parts[part])
            rows_SC[order[of_part]] = self._parts[part][ascending[of_part] - begin]
        return rows_SC


def shard_bounds(n_rows: int, context_size: int, n_shards: int | None = None) -> list[tuple[int, int]]:
    """First row and end of each shard: ``n_shards`` of nearly equal length, or as many as the size demands."""
    wanted = n_shards or -(-n_rows * context_size * 4 // SHARD_BYTES)
    edges = np.linspace(0, n_rows, min(max(wanted, 1), max(n_rows, 1)) + 1).astype(int).tolist()
    return list(pairwise(edges))


def write_dataset(folder: Path, rows: Pieces, order: np.ndarray, tell: Told) -> list[dict[str, Any]]:
    """Write shards and what ``load_from_disk`` reads beside them; shards that are there already are kept.

    Args:
        folder: where; made when it is not there.
        rows: the sequences.
        order: their order in the dataset.
        tell: is told how many sequences are written.

    Returns:
        file, rows, bytes and sha256 of each shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context_size = rows.take(order[:1]).shape[1]
    bounds = shard_bounds(len(order), context_size)
    shards = []
    for number, (begin, end) in enumerate(bounds):
        path = folder / f"data-{number:05d}-of-{len(bounds):05d}.arrow"
        if not path.exists():
            with new_file(path) as file, pa.ipc.new_stream(file, _schema(context_size)) as writer:
                for first in range(begin, end, BATCH_ROWS):
                    index = order[first : min(first + BATCH_ROWS, end)]
                    writer.write_batch(_record_batch(rows.take(index)))
                    tell(first + len(index))
        shards.append(
            {"file": path.name, "rows": end - begin, "bytes": path.stat().st_size, "sha256": _sha256(path)}
        )
    fingerprint = hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()[:16]
    write_json(folder / "dataset_info.json", _dataset_info(context_size))
    write_json(
        folder / "state.json",
        {
            "_data_files": [{"filename": shard["file"]} for shard in shards],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        },
    )
    return shards


def write_parquet(
    dataset: Path, shards: Sequence[str], folder: Path, split: str, n_shards: int, tell: Told
) -> list[str]:
    """The dataset as files of the hub's layout, ``data/<split>-<i>-of-<n>.parquet``.

    Args:
        dataset: a folder that :func:`write_dataset` wrote.
        shards: names of its shards, in order.
        folder: where the files go.
        split: name of the split.
        n_shards: how many files.
        tell: is told how many sequences are written.

    Returns:
        their paths below ``folder``.
    """
    tables = [pa.ipc.open_stream(pa.memory_map(str(dataset / shard))).read_all() for shard in shards]
    table = pa.concat_tables(tables)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    bounds = shard_bounds(len(table), 1, n_shards)
    names = []
    for number, (begin, end) in enumerate(bounds):
        name = f"data/{split}-{number:05d}-of-{len(bounds):05d}.parquet"
        with new_file(folder / name) as file:
            pq.write_table(table.slice(begin, end - begin), file, row_group_size=BATCH_ROWS * 10)
        names.append(name)
        tell(end)
    return names


def parquet_rows(file: Path) -> int:
    """Rows of a parquet file, by its last bytes."""
    return pq.read_metadata(file).num_rows


def write_json(path: Path, value: Any) -> None:
    """A small file that is there whole or not at all."""
    with new_file(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _schema(context_size: int) -> pa.Schema:
    return pa.schema([pa.field(COLUMN, pa.list_(pa.int32(), context_size))])


def _record_batch(rows_SC: np.ndarray) -> pa.RecordBatch:
    context_size = rows_SC.shape[1]
    values = pa.FixedSizeListArray.from_arrays(pa.array(rows_SC.reshape(-1)), context_size)
    return pa.record_batch([values], schema=_schema(context_size))


def _dataset_info(context_size: int) -> dict[str, Any]:
    feature = {"dtype": "int32", "_type": "Value"}
    return {
        "citation": "",
        "description": "",
        "features": {COLUMN: {"feature": feature, "length": context_size, "_type": "Sequence"}},
        "homepage": "",
        "license": "",
    }
