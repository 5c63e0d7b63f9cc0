"""A look at a dataset: its columns, its first rows, how many tokens it has."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyworker.data.datasets import TEXT_COLUMNS, TOKEN_COLUMNS, open_rows
from pyworker.data.local_dataset import COMPRESSIONS, FORMATS
from pyworker.data.row_kind import kind_of
from pyworker.data.token_dataset import parquet_rows
from pyworker.errors import WorkerError

SAMPLE_ROWS = 256
SHOWN_CHARACTERS = 200
SHOWN_ITEMS = 12
COUNTED_BYTES = 2**30
"""Lines of files up to so many bytes together are counted; that takes a second."""


def peek(
    path: str, name: str | None, split: str, column: str | None, n_rows: int, tokenizer: Any | None
) -> dict[str, Any]:
    """What a person wants to know of a dataset before using it. Nothing is downloaded in whole.

    Args:
        path: see :func:`pyworker.data.datasets.open_source`.
        name: configuration of a hub dataset.
        split: one of its splits.
        column: the column to count tokens of; None looks for the usual names.
        n_rows: how many rows to show.
        tokenizer: counts the tokens of texts and shows the text of token ids; None does neither.

    Returns:
        columns with types, the number of rows where it is known, the first rows as short texts, and of the column
        lengths in tokens (or characters, for texts without a tokenizer) and an estimate for all rows.

    Raises:
        WorkerError: ``DATASET_NOT_FOUND``, ``DATASET_INVALID``, ``HUB``.
    """
    local = Path(path).expanduser()
    rows = open_rows(path, name=name, split=split, streaming=True)
    sample = list(itertools.islice(rows, max(SAMPLE_ROWS, n_rows)))
    first = sample[0]
    chosen = _column(first, column, path)
    features = rows.features or {}
    total = _n_rows(rows, split, local)
    counted = None if chosen is None else _lengths([row[chosen] for row in sample], tokenizer, total)
    return {
        "columns": [{"name": key, "type": _type(features.get(key), first[key])} for key in first],
        "n_rows": total,
        "rows": [{key: shown(value) for key, value in row.items()} for row in sample[:n_rows]],
        "column": chosen,
        "decoded": _decoded(sample[:n_rows], chosen, tokenizer),
        "lengths": counted,
    }


def shown(value: Any) -> str:
    """A value as one short line of a table."""
    if isinstance(value, list | tuple | np.ndarray) and not any(isinstance(item, dict) for item in value):
        items = ", ".join(str(item) for item in value[:SHOWN_ITEMS])
        return f"[{items}]" if len(value) <= SHOWN_ITEMS else f"[{items}, …] ({len(value)})"
    text = value if isinstance(value, str) else repr(value)
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _column(first: dict[str, Any], column: str | None, path: str) -> str | None:
    if column is not None and column not in first:
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {path!r} has no column {column!r}; it has {', '.join(map(repr, first))}",
            hint="name one of them: --column",
            details={"columns": list(first)},
        )
    usual = (candidate for candidate in TOKEN_COLUMNS + TEXT_COLUMNS if candidate in first)
    return next(usual, None) if column is None else column


def _lengths(values: Sequence[Any], tokenizer: Any | None, total: int | None) -> dict[str, Any] | None:
    there = [value for value in values if value is not None]
    kind = kind_of(there[0]) if there else None
    if kind is None:
        return None
    unit = "characters" if kind == "text" and tokenizer is None else "tokens"
    if kind == "text" and tokenizer is not None:
        lengths = [len(ids) for ids in tokenizer(there, verbose=False)["input_ids"]]
    else:
        lengths = [len(value) for value in there]
    mean = float(np.mean(lengths))
    return {
        "kind": kind,
        "unit": unit,
        "n_sampled": len(lengths),
        "mean": mean,
        "min": min(lengths),
        "max": max(lengths),
        "estimated_total": None if total is None else round(mean * total),
    }


def _decoded(rows: list[dict[str, Any]], column: str | None, tokenizer: Any | None) -> list[str] | None:
    if tokenizer is None or column is None or kind_of(rows[0][column]) != "tokens":
        return None
    known = len(tokenizer)
    return [shown(tokenizer.decode([i for i in row[column] if 0 <= i < known])) for row in rows]


def _type(feature: Any, value: Any) -> str:
    if feature is None:
        return "null" if value is None else type(value).__name__
    inner = getattr(feature, "feature", None)
    if inner is not None:
        length = getattr(feature, "length", -1)
        return f"list of {_type(inner, None)}" + (f" × {length}" if length > 0 else "")
    if isinstance(feature, dict):
        return "{" + ", ".join(f"{key}: {_type(part, None)}" for key, part in feature.items()) + "}"
    return str(getattr(feature, "dtype", None) or type(feature).__name__)


def _n_rows(rows: Any, split: str, local: Path) -> int | None:
    if hasattr(rows, "num_rows"):
        return len(rows)
    if not local.exists():
        told = (rows.info.splits or {}).get(split)  # by the dataset's card, if at all
        return told.num_examples or None if told is not None else None
    files = [local] if local.is_file() else sorted(file for file in local.rglob("*") if file.is_file())
    formats = {FORMATS.get(file.suffix.lower()) for file in files if file.suffix.lower() in FORMATS}
    compressed = any(file.suffix.lower() in COMPRESSIONS for file in files)
    if formats == {"parquet"} and len(files) == 1:
        return parquet_rows(local)
    lines = len(files) == 1 and files[0].suffix.lower() in (".jsonl", ".ndjson", ".txt", ".text")
    if lines and not compressed and local.stat().st_size <= COUNTED_BYTES:
        with files[0].open("rb") as file:
            return sum(1 for line in file if line.strip())
    return None
