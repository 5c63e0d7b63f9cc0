"""A cache of activations on disk, as SAELens writes it and as we do: a folder of ``datasets.save_to_disk``.

One row is one sequence: for each hook a column ``Array2D((S, D))``, beside them ``token_ids``. Array2D is a
list of lists in Arrow, whose numbers lie one after the other: they are read in place, memory-mapped, as arrays
[N, S, D]. Nothing is copied until a row is asked for, and ``datasets`` is not needed.

Shapes: N sequences, S positions kept of each, D d_in of the hook.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pyworker.data.activation_cache_manifest import CacheManifest, read_manifest
from pyworker.errors import WorkerError

log = logging.getLogger(__name__)

STATE_NAME = "state.json"
INFO_NAME = "dataset_info.json"
TOKENS_COLUMN = "token_ids"
WIDTH_OF = {"float16": 2, "float32": 4, "float64": 8}


class CachedBatch(NamedTuple):
    """Some neighbouring sequences, read-only views of the file.

    Attributes:
        activations: by hook, [N, S, D].
        token_ids_NS: int32; None in a cache without tokens.
    """

    activations: dict[str, np.ndarray]
    token_ids_NS: np.ndarray | None


@dataclass(frozen=True)
class CachedShard:
    """One file of a cache."""

    path: Path
    context: int
    d_in: dict[str, int]
    stored_dtype: str

    @cached_property
    def batches(self) -> list[CachedBatch]:
        """The file's record batches in order: all mapped, none read.

        Raises:
            WorkerError: ``STORAGE`` naming the file when it is not what the cache says it holds.
        """
        try:
            with pa.ipc.open_stream(pa.memory_map(str(self.path))) as stream:
                return [self._views(batch) for batch in stream]
        except (OSError, pa.ArrowException, ValueError, KeyError) as cause:
            raise damaged(self.path, str(cause).splitlines()[0]) from cause

    @cached_property
    def rows(self) -> int:
        """Sequences in this file."""
        return sum(len(next(iter(batch.activations.values()))) for batch in self.batches)

    def _views(self, batch: pa.RecordBatch) -> CachedBatch:
        batch.validate()
        n, names = batch.num_rows, batch.schema.names
        activations = {
            hook: _numbers(batch.column(hook), (n, self.context, d_in), self.stored_dtype)
            for hook, d_in in self.d_in.items()
        }
        tokens = None
        if TOKENS_COLUMN in names:
            tokens = _numbers(batch.column(TOKENS_COLUMN), (n, self.context), "int32")
        return CachedBatch(activations, tokens)


class ActivationCache:
    """A cache of activations that is opened for reading.

    Attributes:
        path: its folder.
        hook_names: hooks whose activations it holds.
        d_in: width of each hook's activations.
        context: S, positions kept of each sequence.
        dtype: of the values: float32, float16 or bfloat16 (which is stored as float32).
        stored_dtype: of the numbers on disk.
        manifest: None for a cache that SAELens wrote.
        shards: its files, in order.
        skipped: names of those that were left out of them.
        n_skipped_tokens: what they were to hold.
    """

    def __init__(self, path: Path, d_in: dict[str, int], context: int, stored_dtype: str, files: list[str]):
        self.path = path
        self.d_in = d_in
        self.hook_names = list(d_in)
        self.context = context
        self.stored_dtype = stored_dtype
        self.manifest: CacheManifest | None = read_manifest(path)
        self.dtype = self.manifest.dtype if self.manifest else stored_dtype
        self.shards = [CachedShard(path / file, context, d_in, stored_dtype) for file in files]
        self.skipped: list[str] = []
        self.n_skipped_tokens = 0

    @classmethod
    def open(cls, path: str | Path, skip_bad_shards: bool = False) -> "ActivationCache":
        """Open a folder; of its data only the sizes are looked at.

        Args:
            path: the folder.
            skip_bad_shards: leave out those that are missing or have another size than the manifest says.

        Raises:
            WorkerError: ``DATASET_NOT_FOUND`` when nothing is there, ``DATASET_INVALID`` when it is no cache of
                activations, ``STORAGE`` when a file is missing or has another size than the manifest says.
        """
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise WorkerError(
                "DATASET_NOT_FOUND",
                f"there is no cache of activations at {str(folder)!r}",
                hint="check cached_activations_path, or write it with `sae-lens-ts cache-activations`",
            )
        try:
            features = json.loads((folder / INFO_NAME).read_bytes())["features"]
            state = json.loads((folder / STATE_NAME).read_bytes())
            files = [entry["filename"] for entry in state["_data_files"]]
            arrays = {name: one for name, one in features.items() if one.get("_type") == "Array2D"}
            [context] = {int(one["shape"][0]) for one in arrays.values()}
            [stored_dtype] = {one["dtype"] for one in arrays.values()}
            d_in = {name: int(one["shape"][1]) for name, one in arrays.items()}
            if stored_dtype not in WIDTH_OF or any(Path(file).name != file for file in files):
                raise ValueError(f"numbers of type {stored_dtype} in {files}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise WorkerError(
                "DATASET_INVALID",
                f"{str(folder)!r} holds no cache of activations: {type(cause).__name__}: {cause}",
                hint="a cache is what `sae-lens-ts cache-activations` or SAELens' CacheActivationsRunner writes",
            ) from cause
        cache = cls(folder, d_in, context, stored_dtype, files)
        cache.require_or_leave_out(dict(cache._size_problems()), skip_bad_shards)
        return cache

    def require_or_leave_out(self, problems: dict[str, str], skip_bad_shards: bool) -> None:
        """Go on without the shards that cannot be used, where that is wanted and a manifest tells what is lost.

        Args:
            problems: by file, what is wrong with it.
            skip_bad_shards: whether it is wanted.

        Raises:
            WorkerError: ``STORAGE`` naming the first of them.
        """
        if not problems:
            return
        if self.manifest is None or not skip_bad_shards:
            file, reason = next(iter(problems.items()))
            raise damaged(self.path / file, reason)
        lost = sum(shard.rows for shard in self.manifest.shards if shard.file in problems) * self.context
        self.shards = [shard for shard in self.shards if shard.path.name not in problems]
        self.skipped += problems
        self.n_skipped_tokens += lost
        told = "; ".join(f"{file}: {reason}" for file, reason in problems.items())
        log.warning(
            "cache %r: %d of its tokens (%.1f %%) are left out with shards that cannot be used: %s",
            str(self.path),
            lost,
            100 * lost / self.manifest.n_tokens,
            told,
        )

    @cached_property
    def n_sequences(self) -> int:
        """Sequences in all shards; by the manifest, else by the files' headers."""
        if self.manifest is None:
            return sum(shard.rows for shard in self.shards)
        return self.manifest.n_sequences - self.n_skipped_tokens // self.context

    def check_against(self, cfg: Any, model_name: str | None = None) -> None:
        """Whether training as ``cfg`` says is training on these activations.

        Args:
            cfg: a LanguageModelSAERunnerConfig. Its ``context_size`` and ``seqpos_slice`` are those the cache
                was made with, or, as SAELens has it, the kept length and no slice.
            model_name: the name the model is recorded by, when ``cfg`` has its place on this machine.

        Raises:
            WorkerError: ``HOOK_NOT_FOUND``, ``D_IN_MISMATCH`` or ``CONFIG_INVALID``, before anything is read; all
                that does not fit is named at once, by the code of the first.
        """
        problems = list(self._problems(cfg, model_name))
        if len(problems) == 1:
            raise problems[0]
        if problems:
            first = problems[0]
            details = {key: value for problem in reversed(problems) for key, value in problem.details.items()}
            raise WorkerError(
                first.code,
                "; ".join(problem.message for problem in problems),
                hint="; ".join(dict.fromkeys(problem.hint for problem in problems if problem.hint)),
                details={**details, "options": [problem.details["option"] for problem in problems]},
            )

    def _problems(self, cfg: Any, model_name: str | None) -> Iterator[WorkerError]:
        if cfg.hook_name not in self.d_in:
            yield WorkerError(
                "HOOK_NOT_FOUND",
                f"the cache {str(self.path)!r} holds {', '.join(self.hook_names)}, not {cfg.hook_name}",
                hint="set hook_name to one of them, or cache that hook",
                details={"option": "hook_name", "value": cfg.hook_name, "cached": self.hook_names},
            )
        if cfg.hook_head_index is not None:
            yield WorkerError(
                "CONFIG_INVALID",
                f"hook_head_index is {cfg.hook_head_index}, but a cache holds all heads, flattened",
                hint="leave hook_head_index out",
                details={"option": "hook_head_index", "value": cfg.hook_head_index, "cached": None},
            )
        seen = self.d_in.get(cfg.hook_name)
        if seen is not None and cfg.sae.d_in not in (None, seen):
            yield WorkerError(
                "D_IN_MISMATCH",
                f"sae.d_in is {cfg.sae.d_in}, but the cache {str(self.path)!r} has {seen} at {cfg.hook_name}",
                hint=f"set d_in to {seen}, or leave it out",
                details={"option": "d_in", "value": cfg.sae.d_in, "cached": seen},
            )
        for name, wanted, cached in self._differences(cfg, model_name):
            # training computes in float32 what is stored in half of it
            with_sae = ' and sae.dtype to "float32"' if (name, cached) == ("dtype", "float16") else ""
            yield WorkerError(
                "CONFIG_INVALID",
                f"{name} is {wanted!r}, but the cache {str(self.path)!r} was made with {cached!r}",
                hint=f"set {name} to {json.dumps(cached)}{with_sae}, or make another cache",
                details={"option": name, "value": wanted, "cached": cached},
            )

    def _differences(self, cfg: Any, model_name: str | None) -> list[tuple[str, Any, Any]]:
        """(option, its value, the cache's) where the two do not go together."""
        made, whole = self.manifest, cfg.seqpos_slice in ([None], [None, None], [0, None])
        pairs: list[tuple[str, Any, Any]] = [("dtype", cfg.dtype, self.dtype)]
        if not (whole and cfg.context_size == self.context):
            pairs.append(("context_size", cfg.context_size, made.context_size if made else self.context))
            pairs.append(("seqpos_slice", cfg.seqpos_slice, made.seqpos_slice if made else [None]))
        if made is not None:
            name = model_name or cfg.model_name
            if not _same_place(name, made.model_name):
                pairs.append(("model_name", name, made.model_name))
            pairs += [
                (option, getattr(cfg, option), getattr(made, option))
                for option in ("prepend_bos", "sequence_separator_token", "disable_concat_sequences")
            ]
        return [pair for pair in pairs if pair[1] != pair[2]]

    def _size_problems(self) -> Iterator[tuple[str, str]]:
        recorded = {shard.file: shard for shard in self.manifest.shards} if self.manifest else {}
        for shard in self.shards:
            name = shard.path.name
            try:
                size = shard.path.stat().st_size
            except OSError:
                yield name, "it is missing"
                continue
            if self.manifest and name not in recorded:
                yield name, "the manifest does not know it"
            elif self.manifest and size != recorded[name].bytes:
                yield name, f"it has {size} bytes instead of {recorded[name].bytes}"


def damaged(shard: Path, reason: str) -> WorkerError:
    """The error for a shard that cannot be used (faults S5)."""
    return WorkerError(
        "STORAGE",
        f"shard {shard.name} of the cache {str(shard.parent)!r} is damaged: {reason}",
        hint=f"`sae-lens-ts cache repair {shard.parent}` computes that shard again; skip_bad_shards trains without it",
        details={"cache": str(shard.parent), "shard": shard.name},
    )


def _same_place(name: str, other: str) -> bool:
    """A folder may be spelled in several ways; a name of the hub in one."""
    return name == other or (Path(name).exists() and Path(name).resolve() == Path(other).resolve())


def _numbers(column: pa.Array, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The numbers of a column of nested lists as one array, in place.

    Raises:
        ValueError: when lists are missing or of other lengths, or the numbers of another type.
    """
    array = column.storage if isinstance(column, pa.ExtensionArray) else column
    n = 1
    for axis, length in enumerate(shape):
        n *= length
        if len(array) != n or array.null_count:
            raise ValueError(f"dimension {axis} has {len(array)} entries where {n} were to be")
        if axis == len(shape) - 1:
            break
        size = shape[axis + 1]
        if isinstance(array, pa.FixedSizeListArray):
            if array.type.list_size != size:
                raise ValueError(f"lists of {array.type.list_size} where {size} were to be")
            array = array.flatten()
            continue
        offsets = array.offsets.to_numpy()
        if not np.array_equal(offsets, np.arange(offsets[0], offsets[0] + n * size + 1, size)):
            raise ValueError(f"lists of other lengths than {size}")
        array = array.values.slice(offsets[0], n * size)
    numbers = array.to_numpy(zero_copy_only=True)
    if numbers.dtype != np.dtype(dtype):
        raise ValueError(f"numbers of type {numbers.dtype} instead of {dtype}")
    return numbers.reshape(shape)
