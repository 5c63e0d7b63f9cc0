"""The sequences a cache of activations is made of: one file of token ids beside the shards, while they are computed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from pyworker.data.activation_cache_checksums import file_sha256
from pyworker.data.activation_cache_manifest import CacheManifest
from pyworker.data.activation_cache_work import write_sequences
from pyworker.data.held_out import open_reader
from pyworker.errors import WorkerError
from pyworker.lm.model import LanguageModel
from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig

TOKENS_NAME = "tokens.bin"


def keep_sequences(
    cfg: CacheActivationsRunnerConfig, manifest: CacheManifest, lm: LanguageModel, staging: Path, session: Any
) -> None:
    """The sequences that ``manifest`` was begun with are in the staging folder: as they lie there, or made again.

    Raises:
        WorkerError: ``DATASET_INVALID`` when the dataset gives others now; what reading it can fail with.
    """
    path = staging / TOKENS_NAME
    with suppress(FileNotFoundError), path.open("rb") as file:
        if file_sha256(file) == manifest.tokens_sha256:
            return
    cfg.context_size = manifest.context_size
    found = tokenize(cfg, lm, manifest.n_sequences, staging, session)
    if found != (manifest.n_sequences, manifest.tokens_sha256):
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {manifest.dataset_path!r} does not give the sequences the cache was made of",
            hint="bring the dataset and the tokenizer back to what they were, or make the cache anew",
            details={"n_sequences": found[0], "expected": manifest.n_sequences},
        )


def tokenize(
    cfg: CacheActivationsRunnerConfig, lm: LanguageModel, n_wanted: int, staging: Path, session: Any
) -> tuple[int, str]:
    """Write the first ``n_wanted`` sequences of the dataset to the staging folder.

    Returns:
        how many there are, and their sha256.

    Raises:
        WorkerError: DATASET_EXHAUSTED, and what reading a dataset fails with.
    """
    session.stage("open_dataset", f"opening {cfg.dataset_path}")
    reader = open_reader(cfg, lm, cfg.dataset_path, cfg.dataset_split)

    def on_progress(n: int) -> None:
        session.stage("tokenize", "making sequences", n, n_wanted)

    n_sequences, sha256 = write_sequences(reader, n_wanted, staging / TOKENS_NAME, on_progress)
    if n_sequences == 0:
        raise WorkerError(
            "DATASET_EXHAUSTED",
            f"dataset {cfg.dataset_path!r} gives no whole sequence of {cfg.context_size} tokens",
            hint="use more text or a smaller context_size, or leave disable_concat_sequences out",
        )
    return n_sequences, sha256
