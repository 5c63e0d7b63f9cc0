"""``manifest.json`` of a cache of activations: what was cached, how, and the checksum of every shard.

Twin of src/artifacts/activation-cache.ts, which verifies it without Python.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from pyworker.data.storage import sync_folder
from pyworker.errors import WorkerError

MANIFEST_NAME = "manifest.json"
FORMAT = "sae-lens-ts activation cache"
VERSION = 1


class ShardRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One finished file: ``rows`` sequences, ``bytes`` on disk."""

    file: str
    rows: int
    bytes: int
    sha256: str


class CacheManifest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a cache holds. A folder that is still being written has fewer rows in ``shards`` than ``n_sequences``.

    ``dtype`` is that of the values; a bfloat16 cache stores them widened to float32, since HF datasets has no
    such type. ``context_size`` counts before ``seqpos_slice``; ``n_tokens`` are the positions kept.
    ``tokens_sha256`` is that of all sequences in the dataset's order, int32 little endian.
    """

    format: Literal["sae-lens-ts activation cache"] = FORMAT
    version: int = VERSION
    model_name: str
    model_revision: str | None
    hook_names: list[str]
    d_in: dict[str, int]
    dtype: Literal["float32", "bfloat16", "float16"]
    context_size: int
    seqpos_slice: list[int | None]
    tokenizer_sha256: str | None
    dataset_path: str
    dataset_revision: str | None
    seed: int
    shuffle: bool
    n_sequences: int
    n_tokens: int
    tokens_sha256: str
    prepend_bos: bool
    sequence_separator_token: int | Literal["bos", "eos", "sep"] | None
    disable_concat_sequences: bool
    shards: list[ShardRecord]

    @property
    def complete(self) -> bool:
        """Whether every sequence is in a finished shard."""
        return sum(shard.rows for shard in self.shards) == self.n_sequences


def read_manifest(folder: Path) -> CacheManifest | None:
    """The manifest of a cache; None where there is none, as in a cache that SAELens wrote.

    Raises:
        WorkerError: ``STORAGE`` when it is there and cannot be understood.
    """
    path = folder / MANIFEST_NAME
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        if found.get("format") != FORMAT:
            raise ValueError(f"its format is {found.get('format')!r}")
        if isinstance(found.get("version"), int) and found["version"] > VERSION:
            raise WorkerError(
                "STORAGE",
                f"the cache {str(folder)!r} has format version {found['version']}, this one reads up to {VERSION}",
                hint="update sae-lens-ts",
            )
        return msgspec.convert(found, CacheManifest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as cause:  # msgspec's errors are ValueErrors
        raise WorkerError(
            "STORAGE",
            f"{str(path)!r} is no manifest of a cache of activations: {cause}",
            hint="copy the cache again, or remove this file to have the cache read unchecked",
        ) from cause


def write_manifest(folder: Path, manifest: CacheManifest) -> None:
    """Replace the manifest in one step: a reader, or a kill at any instant, finds the old one or the new one."""
    write_json(folder / MANIFEST_NAME, msgspec.to_builtins(manifest))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is there whole or not at all, and on the disk when this returns."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
