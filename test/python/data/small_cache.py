"""Small caches of activations, written as ours are and as SAELens' are."""

from pathlib import Path
from typing import Any

import numpy as np

from pyworker.data.activation_cache_manifest import CacheManifest, write_manifest
from pyworker.data.activation_cache_writer import (
    STORED_DTYPE,
    ShardWriter,
    cache_schema,
    shard_name,
    write_dataset_files,
)

HOOK = "blocks.0.hook_resid_post"


def write_small_cache(
    path: Path,
    *,
    d_in: dict[str, int] | None = None,
    context: int = 8,
    dtype: str = "float32",
    shards: tuple[tuple[int, ...], ...] = ((4, 4), (4, 2)),
    manifest: bool = True,
    seed: int = 0,
    **recorded: Any,
) -> dict[str, np.ndarray]:
    """Write a cache whose shards have record batches of so many sequences; ``recorded`` changes its manifest.

    Returns:
        what it holds: [N, S, D] by hook, and ``token_ids`` [N, S].
    """
    d_in = d_in or {HOOK: 6}
    draw = np.random.default_rng(seed)
    path.mkdir(parents=True)
    schema, kept, records = cache_schema(d_in, context, dtype), [], []
    for number, batches in enumerate(shards):
        writer = ShardWriter(path / shard_name(number, len(shards)), schema)
        for n in batches:
            x = [draw.standard_normal((n, context, d)).astype(STORED_DTYPE[dtype]) for d in d_in.values()]
            tokens = draw.integers(0, 44, (n, context)).astype(np.int32)
            writer.write(x, tokens)
            kept.append([*x, tokens])
        records.append(writer.finish())
        writer.place()
    write_dataset_files(path, d_in, context, dtype, [record.file for record in records])
    if manifest:
        n_sequences = sum(record.rows for record in records)
        fields: dict[str, Any] = {
            "model_name": "small",
            "model_revision": None,
            "hook_names": list(d_in),
            "d_in": d_in,
            "dtype": dtype,
            "context_size": context,
            "seqpos_slice": [None],
            "tokenizer_sha256": None,
            "dataset_path": "",
            "dataset_revision": None,
            "seed": 42,
            "shuffle": True,
            "n_sequences": n_sequences,
            "n_tokens": n_sequences * context,
            "tokens_sha256": "0" * 64,
            "prepend_bos": True,
            "sequence_separator_token": "bos",
            "disable_concat_sequences": False,
            "shards": records,
        }
        write_manifest(path, CacheManifest(**(fields | recorded)))
    columns = [np.concatenate(parts) for parts in zip(*kept, strict=True)]
    return dict(zip([*d_in, "token_ids"], columns, strict=True))
