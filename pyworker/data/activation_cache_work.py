"""The work of caching, cut so that a shard is a function of its number: its sequences, their order, its batches.

All sequences are made first and kept as int32 in one file, so that the shuffle is a permutation of all of them
and any shard can be computed, and computed again, by itself. A batch of the language model always has the same
shape, since a row's bits depend on it.

Shapes: N sequences, P prompts of a batch, C context, S positions kept of it, D d_in.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyworker.data.activation_cache_manifest import ShardRecord
from pyworker.data.activation_cache_writer import (
    MOST_NUMBERS,
    STORED_DTYPE,
    ShardWriter,
    batch_header_bytes,
    bytes_per_sequence,
    cache_schema,
    file_header_bytes,
)
from pyworker.data.rows import seeded_generator
from pyworker.data.tokenization import Tokens
from pyworker.errors import WorkerError

SEQUENCES_PER_WRITE = 1024
MOST_FILES = 100_000
NOT_FINITE_LIMIT = 0.001
NOT_FINITE_GRACE_TOKENS = 10_000

Activations = Callable[[Tensor], dict[str, Tensor]]
"""tokens_PC → by hook x_PCD: one pass of the language model."""


@dataclass(frozen=True)
class CacheShape:
    """The sizes that decide what lies where. ``d_in`` is that of each hook, in the order of the columns."""

    d_in: dict[str, int]
    context_size: int
    position_slice: slice
    dtype: str
    n_sequences: int
    batch_size: int

    @property
    def context(self) -> int:
        """S, positions kept of each sequence."""
        return len(range(self.context_size)[self.position_slice])

    @property
    def n_batches(self) -> int:
        """Passes of the language model; the last one may have rows that do not count."""
        return -(-self.n_sequences // self.batch_size)

    def total_bytes(self, n_files: int) -> int:
        """What the whole cache takes on disk, to a hundredth."""
        per_sequence = bytes_per_sequence(self.d_in, self.context, self.dtype)
        headers = self.n_batches * batch_header_bytes(len(self.d_in)) + n_files * file_header_bytes(
            len(self.d_in)
        )
        return self.n_sequences * per_sequence + headers

    def shards(self, buffer_size_gb: float, n_files: int | None) -> list[range]:
        """The batches of each shard: as equal as whole batches allow, none larger than ``buffer_size_gb``.

        Args:
            buffer_size_gb: GB (1e9 bytes) of the largest file.
            n_files: so many files, when they are counted (``hf_num_shards``).

        Raises:
            WorkerError: ``CONFIG_INVALID`` when that cannot be.
        """
        batch_bytes = self.batch_size * bytes_per_sequence(self.d_in, self.context, self.dtype)
        n_hooks = len(self.d_in)
        room = buffer_size_gb * 1e9 - file_header_bytes(n_hooks)
        largest = int(room / (batch_bytes + batch_header_bytes(n_hooks)))
        if largest < 1:
            raise WorkerError(
                "CONFIG_INVALID",
                f"one batch of {self.batch_size} prompts takes {batch_bytes / 1e9:.3g} GB, "
                f"more than buffer_size_gb {buffer_size_gb:g}",
                hint="raise buffer_size_gb or lower model_batch_size",
            )
        if max(self.d_in.values()) * self.context * self.batch_size > MOST_NUMBERS:
            raise WorkerError(
                "CONFIG_INVALID",
                f"one batch of {self.batch_size} prompts gives more than {MOST_NUMBERS} numbers, "
                "the most that Arrow's lists hold",
                hint="lower model_batch_size",
            )
        fewest = -(-self.n_batches // largest)
        n = fewest if n_files is None else n_files
        if n > MOST_FILES:
            raise WorkerError(
                "CONFIG_INVALID",
                f"the cache would have {n} files, their names count to {MOST_FILES}",
                hint="raise buffer_size_gb" if n_files is None else "lower hf_num_shards",
            )
        if not fewest <= n <= self.n_batches:
            raise WorkerError(
                "CONFIG_INVALID",
                f"hf_num_shards is {n}; with these sizes there can be {fewest} to {self.n_batches} files",
                hint="choose a number between, leave it out, or change buffer_size_gb or model_batch_size",
            )
        return [range(i * self.n_batches // n, (i + 1) * self.n_batches // n) for i in range(n)]


def write_sequences(
    sequences: Iterable[Tokens], n_wanted: int, path: Path, on_progress: Callable[[int], None]
) -> tuple[int, str]:
    """Write the first ``n_wanted`` sequences, or all there are, one after the other as int32.

    Returns:
        how many there are, and the sha256 of the file.
    """
    left, n, digest = iter(sequences), 0, hashlib.sha256()
    with path.open("wb") as file:
        while part := list(islice(left, min(SEQUENCES_PER_WRITE, n_wanted - n))):
            data = np.stack(part).astype("<i4").tobytes()
            digest.update(data)
            file.write(data)
            n += len(part)
            on_progress(n)
    return n, digest.hexdigest()


def open_sequences(path: Path, shape: CacheShape) -> np.ndarray:
    """tokens_NC, int32, mapped: nothing is read before it is asked for."""
    return np.memmap(path, "<i4", "r", shape=(shape.n_sequences, shape.context_size))


class CacheWork:
    """Computes shards.

    Args:
        shape: the sizes.
        tokens_NC: every sequence, in the dataset's order.
        activations: the language model.
        shuffle_seed: the sequences are permuted by this seed; None leaves them in the dataset's order.
    """

    def __init__(
        self, shape: CacheShape, tokens_NC: np.ndarray, activations: Activations, shuffle_seed: int | None
    ):
        self.shape = shape
        self._tokens_NC = tokens_NC
        self._activations = activations
        self._schema = cache_schema(shape.d_in, shape.context, shape.dtype)
        self._order_N = np.arange(shape.n_sequences)
        if shuffle_seed is not None:
            generator = seeded_generator(shuffle_seed, "activation_cache", 0)
            self._order_N = torch.randperm(shape.n_sequences, generator=generator).numpy()
        self.n_tokens = 0
        self.n_not_finite = 0

    def write(
        self,
        batches: range,
        path: Path,
        on_progress: Callable[[int], None],
        expected_sha256: str | None = None,
    ) -> ShardRecord:
        """Compute one shard and put it in its place. Memory is one batch; a failure leaves no half file.

        Args:
            batches: of :meth:`CacheShape.shards`.
            path: the file.
            on_progress: called after each batch with the sequences written.
            expected_sha256: what the file must be to be put there, when it is computed again.

        Raises:
            WorkerError: ``NOT_FINITE``; ``STORAGE`` when the file is another one than expected.
            OSError: the disk is full or not there.
        """
        writer = ShardWriter(path, self._schema)
        try:
            for batch in batches:
                writer.write(*self._compute(batch))
                on_progress(writer.rows)
            record = writer.finish()
            if expected_sha256 not in (None, record.sha256):
                raise WorkerError(
                    "STORAGE",
                    f"computed again, {path.name} has other bytes than the manifest says: something that decides "
                    "them has changed since (the model's files, torch, the number of threads, the device)",
                    hint="compute it where the cache was made, or make the whole cache anew elsewhere",
                    details={"shard": path.name, "sha256": record.sha256, "expected": expected_sha256},
                )
            writer.place()
            return record
        except BaseException:
            writer.abandon()
            raise

    @torch.no_grad()
    def _compute(self, batch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """For each hook its activations [n, S, D] of one batch, and the tokens [n, S]."""
        shape = self.shape
        start = batch * shape.batch_size
        index_P = self._order_N[start : start + shape.batch_size]
        n = len(index_P)
        # Every batch has the same shape; what fills up the last one is not written.
        index_P = np.concatenate([index_P, np.repeat(index_P[-1:], shape.batch_size - n)])
        tokens_PC = np.asarray(self._tokens_NC[index_P])
        found = self._activations(torch.from_numpy(tokens_PC.astype(np.int64)))
        numbers = [self._stored(hook, found[hook][:n, shape.position_slice]) for hook in shape.d_in]
        token_ids_PS = np.ascontiguousarray(tokens_PC[:n, shape.position_slice])
        self.n_tokens += token_ids_PS.size
        return numbers, token_ids_PS

    def _stored(self, hook: str, x_PSD: Tensor) -> np.ndarray:
        """The numbers as they are written, contiguous in the memory of the CPU."""
        smallest, largest = (float(bound) for bound in torch.aminmax(x_PSD))
        # NaN and infinity show in the bounds; only then every number is looked at
        if not np.isfinite(smallest) or not np.isfinite(largest):
            self._count_not_finite(hook, x_PSD)
        elif self.shape.dtype == "float16" and max(-smallest, largest) > torch.finfo(torch.float16).max:
            raise WorkerError(
                "NOT_FINITE",
                f"an activation of {max(-smallest, largest):.6g} at {hook} is more than float16 holds (65504)",
                hint="set dtype to bfloat16 or float32",
                details={"hook_name": hook, "largest": max(-smallest, largest)},
            )
        x_PSD = x_PSD.to(getattr(torch, self.shape.dtype)).to(getattr(torch, STORED_DTYPE[self.shape.dtype]))
        return x_PSD.contiguous().cpu().numpy()

    def _count_not_finite(self, hook: str, x_PSD: Tensor) -> None:
        self.n_not_finite += int((~torch.isfinite(x_PSD).all(-1)).sum())
        seen = self.n_tokens + x_PSD.shape[0] * x_PSD.shape[1]
        if self.n_not_finite > NOT_FINITE_LIMIT * max(seen, NOT_FINITE_GRACE_TOKENS):
            raise WorkerError(
                "NOT_FINITE",
                f"{self.n_not_finite} of {seen} rows of activations, the last at {hook}, are NaN or infinite; "
                f"the limit is {NOT_FINITE_LIMIT:.1%}",
                hint="float16 overflows in some models: load the model in bfloat16 or float32",
                details={"rows": seen, "not_finite": self.n_not_finite},
            )
