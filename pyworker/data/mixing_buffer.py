"""Mixes activation rows of neighbouring texts, so that a training batch is not one document.

The rule is SAELens' (reference/saelens.md §3.3, golden/v6/mixing_buffer.json): collect chunks, one at
least, until ``buffer_rows`` rows are held, permute all of them, serve whole batches from the front while
``mix_fraction`` of the buffer stays, and go on with what stayed. Rows are written once into a preallocated
store and never moved; only an index is permuted. Memory is one buffer and one chunk, and one batch more when
nearly all stays behind.

Shapes: B batch rows, D d_in.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from pyworker.data.rows import Rows, seeded_generator
from pyworker.errors import WorkerError

Permutation = Callable[[int, int], torch.Tensor]
"""(number of rows, refill counter) → a permutation of the rows, int64."""


def seeded_permutation(seed: int) -> Permutation:
    """The permutation used in training: a function of (seed, refill counter) and of nothing else."""

    def permute(n_rows: int, refill: int) -> torch.Tensor:
        return torch.randperm(n_rows, generator=seeded_generator(seed, "mixing_buffer", refill))

    return permute


class MixingBuffer:
    """Iterator: chunks of any size in, batches of exactly ``batch_rows`` rows out.

    When the chunks end, what is held is served in whole batches; at most ``batch_rows - 1`` rows are dropped.

    Args:
        chunks: where rows come from; pulled only when a batch needs them.
        buffer_rows: rows to hold before serving.
        batch_rows: rows of every batch.
        mix_fraction: share of the buffer that stays behind at each refill; 0 mixes nothing.
        permutation: see :data:`Permutation`.
        on_fill: called with (rows held, ``buffer_rows``) after each chunk.

    Raises:
        WorkerError: ``CONFIG_INVALID`` when the buffer is smaller than a batch or the fraction is none.
    """

    def __init__(
        self,
        chunks: Iterator[Rows],
        buffer_rows: int,
        batch_rows: int,
        mix_fraction: float,
        permutation: Permutation,
        on_fill: Callable[[int, int], None] = lambda held, wanted: None,
    ):
        if buffer_rows < batch_rows:
            raise WorkerError(
                "CONFIG_INVALID",
                f"the mixing buffer holds {buffer_rows} rows, a training batch needs {batch_rows}",
                hint="raise n_batches_in_buffer or lower train_batch_size_tokens",
            )
        if not 0 <= mix_fraction <= 1:
            raise WorkerError(
                "CONFIG_INVALID",
                f"activations_mixing_fraction is {mix_fraction}, it must be between 0 and 1",
                hint="0.5 is the default; 0 does not mix",
            )
        self.n_refills = 0
        self._chunks = chunks
        self._buffer_rows = buffer_rows
        self._batch_rows = batch_rows
        self._mix_fraction = mix_fraction
        self._n_kept = int(buffer_rows * mix_fraction)
        self._permutation = permutation
        self._on_fill = on_fill
        self._store: Rows | None = None
        self._order = torch.empty(0, dtype=torch.int64)  # held rows, as places in the store, in serving order
        self._free = torch.empty(0, dtype=torch.int64)  # places that hold nothing
        self._batches_ready = 0
        self._has_new = False  # whether a chunk came since the last refill
        self._exhausted = False

    def __iter__(self) -> Iterator[Rows]:
        return self

    @torch.no_grad()
    def __next__(self) -> Rows:
        if self._batches_ready == 0:
            self._refill()
        if self._batches_ready == 0:
            raise StopIteration
        assert self._store is not None
        places = self._order[: self._batch_rows]
        batch = self._store.select(places)
        self._order = self._order[self._batch_rows :]
        self._free = torch.cat([self._free, places])
        self._batches_ready -= 1
        return batch

    @torch.no_grad()
    def fill(self) -> None:
        """Pull chunks, one at least, until the buffer is full or the chunks end. Serves nothing.

        Does nothing while batches of the last refill are still to be served.
        """
        if self._batches_ready:
            return
        while not self._exhausted and not (self._has_new and len(self._order) >= self._buffer_rows):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._exhausted = True
            else:
                self._write(chunk)
                self._has_new = True
                self._on_fill(len(self._order), self._buffer_rows)

    def held(self) -> Rows | None:
        """A copy of the rows now in the buffer; nothing is consumed. None before the first row."""
        return None if self._store is None else self._store.select(self._order)

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs; the rows in serving order."""
        held = self.held()
        return {
            "n_refills": self.n_refills,
            "batches_ready": self._batches_ready,
            "has_new": self._has_new,
            "capacity": self.capacity,
            **({} if held is None else held._asdict()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the :meth:`state` of a buffer made alike, before anything was pulled from the chunks. Where in the
        store a row lies is not part of it: it is served by its place in the order.
        """
        self.n_refills, self._batches_ready = state["n_refills"], state["batches_ready"]
        self._has_new = state["has_new"]
        if state["capacity"] > 0:
            held = Rows(*(state[name] for name in Rows._fields))
            self._allocate(state["capacity"], held)
            self._place(held)

    @property
    def capacity(self) -> int:
        """Rows the store has room for."""
        return 0 if self._store is None else self._store.n_rows

    @property
    def capacity_bytes(self) -> int:
        """What the store takes."""
        return 0 if self._store is None else sum(column.nbytes for column in self._store)

    def _refill(self) -> None:
        self.fill()
        n_held = len(self._order)
        if not self._has_new or n_held < self._buffer_rows:  # the chunks ended: serve the rest as it lies
            self._batches_ready = n_held // self._batch_rows
            return
        if self._mix_fraction > 0:
            permutation = self._permutation(n_held, self.n_refills)
            self._order = self._order[permutation.to(self._order.device)]
        self.n_refills += 1
        self._has_new = False
        self._batches_ready = max(1, (n_held - self._n_kept) // self._batch_rows)

    def _write(self, chunk: Rows) -> None:
        self._reserve(chunk.n_rows, chunk)
        self._place(chunk)

    def _place(self, chunk: Rows) -> None:
        assert self._store is not None
        places, self._free = self._free[: chunk.n_rows], self._free[chunk.n_rows :]
        for stored, new in zip(self._store, chunk, strict=True):
            stored.index_copy_(0, places, new.to(stored))
        self._order = torch.cat([self._order, places])

    def _reserve(self, n: int, like: Rows) -> None:
        """Room for ``n`` more rows: one allocation a run, unless a later chunk is larger than the first."""
        if n <= len(self._free):
            return
        n_left_at_most = max(self._buffer_rows, self._n_kept + self._batch_rows) - 1
        self._allocate(max(n_left_at_most + n, self.capacity + n - len(self._free)), like)

    def _allocate(self, capacity: int, like: Rows) -> None:
        device = like.x_ND.device
        old, old_capacity = self._store, self.capacity
        self._store = Rows(*(column.new_empty((capacity, *column.shape[1:])) for column in like))
        if old is None:
            self._order, self._free = self._order.to(device), self._free.to(device)
        else:
            for stored, kept in zip(self._store, old, strict=True):
                stored[:old_capacity] = kept
        self._free = torch.cat([self._free, torch.arange(old_capacity, capacity, device=device)])
