"""Operation ``repair_activation_cache``: a damaged shard computed again, alone, to the same bytes."""

from pathlib import Path
from typing import Any

import msgspec

from pyworker.data.activation_cache_manifest import read_manifest
from pyworker.errors import WorkerError
from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig
from pyworker.runners.cache_activations import (
    CacheRun,
    load_model,
    prepared,
    write_hf_files,
)
from pyworker.runners.cache_sequences import TOKENS_NAME, keep_sequences


def repair_activation_cache(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Compute some shards of a finished cache again; each is put in its place only if it is what it was.

    Args:
        params: ``config``, that of the cache, with its present place; ``files``, the shards and those that make the
            folder a dataset, which are written anew.
        session: the request.

    Returns:
        ``repaired``: the files.

    Raises:
        WorkerError: ``STORAGE`` when a shard comes out otherwise than it was, ``DATASET_INVALID`` when the
            dataset does; whatever loading and reading can fail with.
    """
    cfg = msgspec.convert(params["config"], CacheActivationsRunnerConfig)
    folder = Path(cfg.new_cached_activations_path)
    staging = folder.with_name(f"{folder.name}.repair")
    with prepared(cfg, session, folder):
        manifest = read_manifest(folder)
        if manifest is None:
            raise WorkerError(
                "STORAGE",
                f"the cache {str(folder)!r} has no manifest, so nobody knows what its shards were",
                hint="make it anew with `sae-lens-ts cache-activations`",
            )
        write_hf_files(folder, manifest)
        damaged = [number for number, shard in enumerate(manifest.shards) if shard.file in params["files"]]
        if not damaged:
            return {"repaired": params["files"]}
        staging.mkdir(exist_ok=True)  # of a repair that was killed
        try:
            lm = load_model(cfg, session)
            keep_sequences(cfg, manifest, lm, staging, session)
            run = CacheRun(cfg, manifest, lm, staging, session, len(manifest.shards) - len(damaged))
            for number in damaged:
                record = manifest.shards[number]
                run.compute(number, folder, record.sha256)
                session.event("shard", number=number, **msgspec.to_builtins(record))
        finally:
            (staging / TOKENS_NAME).unlink(missing_ok=True)
            staging.rmdir()
    return {"repaired": params["files"]}
