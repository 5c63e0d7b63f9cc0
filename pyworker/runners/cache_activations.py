"""Operation ``cache_activations``: activations computed once, kept on disk.

While it is made, a cache lies beside its place, in ``<place>.partial``: the sequences as one file, the finished
shards, a manifest that grows with them. Whatever ends the work, the next one compares what the manifest knows
with what is there, computes the damaged shards again, and goes on after the last one. The folder gets its name
when everything is in it. Whether a folder may be written or gone on with is decided before, under a lock, by
src/artifacts/activation-cache-folder.ts.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import torch

from pyworker.data.activation_cache_checksums import damaged_shards
from pyworker.data.activation_cache_manifest import (
    CacheManifest,
    ShardRecord,
    read_manifest,
    write_json,
    write_manifest,
)
from pyworker.data.activation_cache_work import CacheShape, CacheWork, open_sequences
from pyworker.data.activation_cache_writer import shard_name, write_dataset_files
from pyworker.data.datasets import open_source
from pyworker.data.storage import storage_failures_named, sync_folder
from pyworker.errors import WorkerError
from pyworker.lm.checks import check_context_size
from pyworker.lm.load import LanguageModelConfig
from pyworker.lm.model import LanguageModel
from pyworker.lm.tokenizer import vocabulary_sha256
from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig
from pyworker.runners.cache_sequences import TOKENS_NAME, keep_sequences, tokenize
from pyworker.runners.comparing import comparing
from pyworker.runners.device import best_device, check_device
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.models import language_model
from pyworker.runners.provenance import hub_revision
from pyworker.runners.training import THREADS_AT_START

CONFIG_NAME = "cache_activations_runner_cfg.json"


def cache_activations(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Write a cache, or go on with one that was interrupted.

    Args:
        params: ``config``, a resolved CacheActivationsRunnerConfig; ``recorded``, what is kept of it beside the
            data: the same, with names where ``config`` has places of this machine.
        session: the request, see :class:`pyworker.session.Session`.

    Returns:
        ``ended``: done, or stopped before the last shard; ``n_sequences`` and ``n_tokens`` of the whole cache;
        ``shards_done``, and their ``bytes``.

    Raises:
        WorkerError: whatever loading, reading or computing can fail with; ``STORAGE`` when the disk is full.
    """
    cfg = msgspec.convert(params["config"], CacheActivationsRunnerConfig)
    final = Path(cfg.new_cached_activations_path)
    staging = staging_folder(final)
    with prepared(cfg, session, staging):
        staging.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(staging)
        damaged = [] if manifest is None else _damaged(manifest, staging, session)
        if damaged is None:
            return _result("stopped", manifest)
        if manifest is None or damaged or not manifest.complete:
            lm = load_model(cfg, session)
            if manifest is None:
                manifest = _begin(cfg, params["recorded"], lm, staging, session)
            else:
                keep_sequences(cfg, manifest, lm, staging, session)
            run = CacheRun(cfg, manifest, lm, staging, session, len(manifest.shards) - len(damaged))
            run.require_space(damaged)
            for number in chain(damaged, range(len(manifest.shards), len(run.shards))):
                if session.stop_requested():
                    return _result("stopped", manifest)
                manifest.shards[number : number + 1] = [run.compute(number, staging)]
                write_manifest(staging, manifest)
                session.event("shard", number=number, **msgspec.to_builtins(manifest.shards[number]))
        write_hf_files(staging, manifest)
        (staging / TOKENS_NAME).unlink(missing_ok=True)
        staging.replace(final)
        sync_folder(final.parent)
        return _result("done", manifest)


def staging_folder(path: Path) -> Path:
    """Where a cache lies while it is made."""
    return path.with_name(f"{path.name}.partial")


def write_hf_files(folder: Path, manifest: CacheManifest) -> None:
    """What makes the folder a dataset of HF datasets."""
    context = manifest.n_tokens // manifest.n_sequences
    files = [shard.file for shard in manifest.shards]
    write_dataset_files(folder, manifest.d_in, context, manifest.dtype, files)


class CacheRun:
    """A configuration, a model and sequences at work on shards.

    Args:
        cfg: the configuration.
        manifest: what is done already.
        lm: the language model.
        staging: the folder of the sequences.
        session: the request.
        n_whole: shards that are there and need not be computed.
    """

    def __init__(
        self,
        cfg: CacheActivationsRunnerConfig,
        manifest: CacheManifest,
        lm: LanguageModel,
        staging: Path,
        session: Any,
        n_whole: int,
    ):
        self.manifest, self.staging, self.session = manifest, staging, session
        self.shape = _shape(cfg, manifest.d_in, manifest.context_size, manifest.n_sequences)
        self.shards = self.shape.shards(cfg.buffer_size_gb, cfg.hf_num_shards)
        self.total_bytes = self.shape.total_bytes(len(self.shards))
        self.work = CacheWork(
            self.shape,
            open_sequences(staging / TOKENS_NAME, self.shape),
            lambda tokens_PC: lm.activations_at(tokens_PC, manifest.hook_names),
            cfg.seed if cfg.shuffle else None,
        )
        session.event(
            "started",
            d_in=manifest.d_in,
            context=self.shape.context,
            n_sequences=manifest.n_sequences,
            n_tokens=manifest.n_tokens,
            n_shards=len(self.shards),
            shards_done=n_whole,
            total_bytes=self.total_bytes,
        )

    def compute(self, number: int, folder: Path, expected_sha256: str | None = None) -> ShardRecord:
        """One shard, by its number."""
        done = sum(shard.rows for shard in self.manifest.shards[:number])
        n_shards, context = len(self.shards), self.shape.context

        def on_progress(rows: int) -> None:
            n_tokens = (done + rows) * context
            self.session.stage("cache", f"shard {number + 1} of {n_shards}", n_tokens, self.manifest.n_tokens)

        path = folder / shard_name(number, n_shards)
        return self.work.write(self.shards[number], path, on_progress, expected_sha256)

    def require_space(self, damaged: Sequence[int]) -> None:
        """There must be room for what is still to be written; one damaged shard goes when the new one is there.

        Raises:
            WorkerError: ``STORAGE``.
        """
        done = self.manifest.shards
        largest = max((done[number].bytes for number in damaged), default=0)
        needed = self.total_bytes - sum(shard.bytes for shard in done) + largest
        free = shutil.disk_usage(self.staging).free
        if needed > free:
            raise WorkerError(
                "STORAGE",
                f"the cache needs {needed / 1e9:.2f} GB at {str(self.staging)!r}, {free / 1e9:.2f} GB are free",
                hint="free some space, lower training_tokens, set dtype to float16, "
                "or set new_cached_activations_path to another disk",
                details={"needed_bytes": needed, "free_bytes": free},
            )


def _begin(
    cfg: CacheActivationsRunnerConfig,
    recorded: dict[str, Any],
    lm: LanguageModel,
    staging: Path,
    session: Any,
) -> CacheManifest:
    """Sequences and a manifest without shards, on disk."""
    if cfg.context_size == -1:
        cfg.context_size = _length_of_first_row(cfg)
    check_context_size(lm, cfg.context_size)
    d_in = {hook: _width(lm, hook, cfg.d_in) for hook in _hook_names(cfg)}
    context = len(range(cfg.context_size)[slice(*cfg.seqpos_slice)])
    if context == 0:
        raise WorkerError(
            "CONFIG_INVALID",
            f"seqpos_slice {cfg.seqpos_slice} leaves no position of context_size {cfg.context_size}",
            hint="choose positions that are there",
        )
    n_wanted = math.ceil(cfg.training_tokens / context)
    # what cannot be is said before a long dataset is read
    _shape(cfg, d_in, cfg.context_size, n_wanted).shards(cfg.buffer_size_gb, cfg.hf_num_shards)
    n_sequences, tokens_sha256 = tokenize(cfg, lm, n_wanted, staging, session)
    if n_sequences < n_wanted:
        session.log(
            "warning",
            f"dataset {recorded['dataset_path']} ended after {n_sequences} of {n_wanted} sequences: "
            "the cache holds each of them once",
        )
    write_json(staging / CONFIG_NAME, recorded)
    manifest = CacheManifest(
        model_name=recorded["model_name"],
        model_revision=hub_revision(
            cfg.model_name, "model", cfg.model_from_pretrained_kwargs.get("revision")
        ),
        hook_names=_hook_names(cfg),
        d_in=d_in,
        dtype=cfg.dtype,
        context_size=cfg.context_size,
        seqpos_slice=cfg.seqpos_slice,
        tokenizer_sha256=_tokenizer_sha256(lm),
        dataset_path=recorded["dataset_path"],
        dataset_revision=hub_revision(cfg.dataset_path, "dataset", None),
        seed=cfg.seed,
        shuffle=cfg.shuffle,
        n_sequences=n_sequences,
        n_tokens=n_sequences * context,
        tokens_sha256=tokens_sha256,
        prepend_bos=cfg.prepend_bos,
        sequence_separator_token=cfg.sequence_separator_token,
        disable_concat_sequences=cfg.disable_concat_sequences,
        shards=[],
    )
    write_manifest(staging, manifest)
    return manifest


def _damaged(manifest: CacheManifest, staging: Path, session: Any) -> list[int] | None:
    """The numbers of finished shards that are not what was written; None when the run was asked to stop."""
    found = damaged_shards(staging, manifest.shards, comparing(session))
    if found is None:
        return None
    for file, reason in found.items():
        session.log("warning", f"shard {file} in {str(staging)!r}: {reason}; it is computed again")
    return [number for number, shard in enumerate(manifest.shards) if shard.file in found]


def _shape(
    cfg: CacheActivationsRunnerConfig, d_in: dict[str, int], context_size: int, n_sequences: int
) -> CacheShape:
    return CacheShape(
        d_in, context_size, slice(*cfg.seqpos_slice), cfg.dtype, n_sequences, cfg.model_batch_size
    )


def load_model(cfg: CacheActivationsRunnerConfig, session: Any) -> LanguageModel:
    """The model of a cache, on its device.

    Raises:
        WorkerError: DEVICE_UNAVAILABLE, and what loading fails with.
    """
    check_device("device", cfg.device)
    return language_model(
        LanguageModelConfig(
            model_name=cfg.model_name,
            model_class_name=cfg.model_class_name,
            hook_name=_hook_names(cfg)[0],
            model_kwargs=cfg.model_kwargs,
            model_from_pretrained_kwargs=cfg.model_from_pretrained_kwargs,
            llm_device=cfg.device,
            autocast_lm=cfg.autocast_lm,
            compile_llm=cfg.compile_llm,
            llm_compilation_mode=cfg.llm_compilation_mode,
        ),
        session,
    )


def _hook_names(cfg: CacheActivationsRunnerConfig) -> list[str]:
    return [cfg.hook_name] if isinstance(cfg.hook_name, str) else cfg.hook_name


def _width(lm: LanguageModel, hook_name: str, d_in: int | None) -> int:
    seen = lm.d_in(hook_name)
    if d_in not in (None, seen):
        raise WorkerError(
            "D_IN_MISMATCH",
            f"d_in is {d_in}, but the activations at '{hook_name}' are {seen} wide",
            hint=f"set d_in to {seen}, or leave it out; hooks of other widths need it left out",
            details={"hook_name": hook_name, "d_in": d_in, "seen": seen},
        )
    return seen


def _length_of_first_row(cfg: CacheActivationsRunnerConfig) -> int:
    """What ``context_size`` -1 stands for: the length of the first row of a tokenized dataset.

    Raises:
        WorkerError: ``CONFIG_INVALID`` when the dataset holds text.
    """
    source = open_source(
        cfg.dataset_path,
        name=cfg.dataset_name,
        split=cfg.dataset_split,
        column=cfg.dataset_column,
        streaming=cfg.streaming,
        trust_remote_code=cfg.dataset_trust_remote_code,
        is_tokenized=cfg.is_dataset_tokenized,
    )
    if source.kind != "tokens":
        raise WorkerError(
            "CONFIG_INVALID",
            f"context_size is -1, but dataset {cfg.dataset_path!r} holds text: no row tells a length",
            hint="set context_size, or pretokenize the dataset",
        )
    return len(next(row for batch in source.batches() for row in batch if row is not None and len(row) > 0))


def _tokenizer_sha256(lm: LanguageModel) -> str | None:
    try:
        return vocabulary_sha256(lm.tokenizer)
    except WorkerError:  # a model without one reads tokenized data
        return None


def _result(ended: str, manifest: CacheManifest) -> dict[str, Any]:
    return {
        "ended": ended,
        "n_sequences": manifest.n_sequences,
        "n_tokens": manifest.n_tokens,
        "shards_done": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
    }


@contextmanager
def prepared(cfg: CacheActivationsRunnerConfig, session: Any, place: Path) -> Iterator[None]:
    """Threads and device as asked, log lines sent, failures of the disk named.

    Raises:
        WorkerError: ``STORAGE``.
    """
    torch.set_num_threads(cfg.n_threads or THREADS_AT_START)
    if cfg.compile_llm:
        torch.compiler.reset()
    if cfg.device == "auto":
        cfg.device = best_device()
    with storage_failures_named(place, "new_cached_activations_path"), forwarded_logs(session):
        yield
