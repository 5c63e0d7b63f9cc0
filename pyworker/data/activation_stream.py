"""Training batches: rows of any source, checked and mixed.

The stream is a function of (config, seed) where its source can be read again: taken from its start, at any time,
it gives the same rows.

Shapes: N rows, B train_batch_size_tokens, D d_in.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyworker.data.mixing_buffer import MixingBuffer, seeded_permutation
from pyworker.data.prefetch import Prefetch
from pyworker.data.row_source import RowSource
from pyworker.data.rows import Rows
from pyworker.errors import WorkerError
from pyworker.protocol.config import LanguageModelSAERunnerConfig

log = logging.getLogger(__name__)

NOT_FINITE_LIMIT = 0.001
NOT_FINITE_GRACE_ROWS = 10_000
"""The limit counts against at least this many rows, so that one bad row at the start does not end a run."""
EMPTY_CHUNKS_LIMIT = 100


class Position(NamedTuple):
    """How far a source was read: the chunks, the rows in them, and how many of those were not finite."""

    n_chunks: int = 0
    n_rows: int = 0
    n_not_finite: int = 0


class ActivationStream:
    """Iterator of x_BD on ``act_store_device``, in the SAE's dtype; ends when the rows end.

    Args:
        cfg: the run's configuration.
        source: where the rows come from.
        state: of a stream to go on from, see :meth:`state`; None for the first batch.

    Attributes:
        on_fill: called with (rows held, rows wanted) after each chunk that was waited for.
        rows: the last batch with the origin of each of its rows; None before the first one.
        n_batches: batches served since the start of the stream.
        n_not_finite: rows dropped since then because they had NaN or infinity.
    """

    def __init__(
        self, cfg: LanguageModelSAERunnerConfig, source: RowSource, state: dict[str, Any] | None = None
    ):
        self._cfg = cfg
        self._source = source
        self._store_dtype = getattr(torch, cfg.dtype)
        self._serve_dtype = getattr(torch, cfg.sae.dtype)
        self._n_positions = len(range(cfg.context_size)[slice(*cfg.seqpos_slice)])
        excluded = cfg.exclude_special_tokens
        ids = source.special_token_ids() if excluded is True else excluded or []
        self._excluded_ids = torch.tensor(sorted(ids), dtype=torch.int32) if ids else None
        self._prefetch: Prefetch[tuple[Position, Rows]] | None = None
        self.on_fill: Callable[[int, int], None] = lambda held, wanted: None
        self._start(state)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        rows = next(self._buffer)
        self.rows = rows._replace(x_ND=rows.x_ND.to(self._serve_dtype))
        self.n_batches += 1
        return self.rows.x_ND

    def peek_rows(self) -> Tensor:
        """The rows of the filled buffer, [N, D], the first that training will see. Nothing is consumed."""
        self._buffer.fill()
        held = self._buffer.held()
        if held is None:
            raise WorkerError(
                "DATASET_EXHAUSTED",
                f"{self._source.name} gives no activation",
                hint="leave fewer rows out: exclude_special_tokens, seqpos_slice; or give it more",
            )
        return held.x_ND.to(self._serve_dtype)

    def without_a_batch(self) -> WorkerError:
        """``DATASET_EXHAUSTED``: why a stream that ended before its first batch has none."""
        held, wanted = self._buffer.held(), self._cfg.train_batch_size_tokens
        n_rows = 0 if held is None else held.n_rows
        return WorkerError(
            "DATASET_EXHAUSTED",
            f"{self._source.name} ended after {n_rows} rows to train on; one training batch has {wanted}",
            hint=f"give it more rows, or lower train_batch_size_tokens to {n_rows} or less",
            details={"rows": n_rows, "train_batch_size_tokens": wanted},
        )

    def estimation_batches(self) -> Generator[Tensor, None, None]:
        """The first ``n_batches_for_norm_estimate`` batches of the run, or all it has if those are fewer; of a source
        that cannot be read again, those that the buffer holds.

        Afterwards the stream stands at its start again: what the estimate saw is trained on, scaled, like
        the rest.
        """
        cfg = self._cfg
        n_of_run = -(-(cfg.training_tokens + cfg.finetuning_tokens) // cfg.train_batch_size_tokens)
        n_wanted = min(cfg.n_batches_for_norm_estimate, n_of_run)
        if not self._source.restarts:
            yield from islice(self.peek_rows().split(cfg.train_batch_size_tokens), n_wanted)
            return
        if self.n_batches:
            self.restart()
        try:
            yield from islice(self, n_wanted)
        finally:
            self.restart()

    def restart(self) -> None:
        """Go back to the first batch."""
        self.close()
        self._start()

    @property
    def repeatable(self) -> bool:
        """Whether a stream can be made that goes on from a :meth:`state` of this one."""
        return self._source.restarts

    @property
    def model_seconds(self) -> float:
        """What a language model took for the rows so far."""
        return self._source.model_seconds

    @property
    def held_bytes(self) -> int:
        """The most that the rows of a :meth:`state` take."""
        return self._buffer.capacity_bytes

    def state(self) -> dict[str, Any]:
        """All that a stream needs to go on behind the last batch: how far the source was read, and what is held."""
        buffer = {f"buffer.{name}": value for name, value in self._buffer.state().items()}
        return {"n_batches": self.n_batches, **self._position._asdict(), **buffer}

    def paused(self) -> AbstractContextManager:
        """While held, the background thread computes nothing: an evaluation has the model to itself."""
        return self._source.paused()

    def close(self) -> None:
        """End the background thread."""
        if self._prefetch is not None:
            self._prefetch.close()
            self._prefetch = None

    def _start(self, state: dict[str, Any] | None = None) -> None:
        cfg = self._cfg
        self.rows: Rows | None = None
        self.n_batches = 0 if state is None else state["n_batches"]
        self._position = (
            Position() if state is None else Position(*(state[name] for name in Position._fields))
        )
        self.n_not_finite = self._position.n_not_finite
        chunks: Iterator[tuple[Position, Rows]] = self._chunks(self._position)
        if cfg.prefetch_llm_batches > 0:
            chunks = self._prefetch = Prefetch(chunks, cfg.prefetch_llm_batches)
        self._buffer = MixingBuffer(
            self._taken(chunks),
            buffer_rows=cfg.n_batches_in_buffer * cfg.store_batch_size_prompts * self._n_positions,
            batch_rows=cfg.train_batch_size_tokens,
            mix_fraction=cfg.activations_mixing_fraction,
            permutation=seeded_permutation(cfg.seed),
            on_fill=lambda held, wanted: self.on_fill(held, wanted),  # noqa: PLW0108  it may be set later
        )
        if state is not None:
            prefix, device = "buffer.", torch.device(cfg.act_store_device)
            self._buffer.restore(
                {
                    name.removeprefix(prefix): value.to(device) if isinstance(value, Tensor) else value
                    for name, value in state.items()
                    if name.startswith(prefix)
                }
            )

    def _taken(self, chunks: Iterator[tuple[Position, Rows]]) -> Iterator[Rows]:
        """What the buffer takes; what was prepared ahead does not count as read."""
        for self._position, rows in chunks:
            yield rows

    def _chunks(self, start: Position) -> Iterator[tuple[Position, Rows]]:
        """Each chunk from ``start`` on as rows to train on, with the position behind it. Runs in the background thread
        when there is one.
        """
        _, n_seen, n_not_finite = start
        n_empty = 0
        for n_chunks, chunk in enumerate(self._source.chunks(start.n_chunks), start.n_chunks + 1):
            rows = self._kept(chunk)
            n_seen += rows.n_rows
            if not _all_finite(rows.x_ND):
                finite_N = torch.isfinite(rows.x_ND).all(dim=-1)
                n_bad = rows.n_rows - int(finite_N.sum())
                n_not_finite += n_bad
                if n_bad:
                    self._report_not_finite(n_not_finite, n_seen, first=n_not_finite == n_bad)
                    rows = rows.select(finite_N)
            n_empty = 0 if rows.n_rows else n_empty + 1
            if n_empty == EMPTY_CHUNKS_LIMIT:
                raise WorkerError(
                    "DATASET_EXHAUSTED",
                    f"{n_empty} batches of prompts in a row gave no activation to train on",
                    hint="exclude_special_tokens and seqpos_slice leave nothing of this dataset",
                )
            if rows.n_rows:
                yield Position(n_chunks, n_seen, n_not_finite), rows

    @torch.no_grad()
    def _kept(self, chunk: Rows) -> Rows:
        """The chunk in the buffer's dtype, on its device, without the excluded tokens."""
        device = torch.device(self._cfg.act_store_device)
        rows = Rows(chunk.x_ND.to(device, self._store_dtype), *(column.to(device) for column in chunk[1:]))
        if self._excluded_ids is None:
            return rows
        return rows.select(~torch.isin(chunk.token_id_N, self._excluded_ids).to(device))

    def _report_not_finite(self, n_not_finite: int, n_seen: int, first: bool) -> None:
        self.n_not_finite = n_not_finite
        giver, remedy = self._source.giver
        if first:
            log.warning(
                "%s gave NaN or infinity in %d activation row(s); they are dropped", giver, n_not_finite
            )
        if n_not_finite > NOT_FINITE_LIMIT * max(n_seen, NOT_FINITE_GRACE_ROWS):
            raise WorkerError(
                "NOT_FINITE",
                f"{n_not_finite} of {n_seen} activation rows of {giver} are NaN or infinite; "
                f"the limit is {NOT_FINITE_LIMIT:.1%}",
                hint=remedy,
                details={"rows": n_seen, "not_finite": n_not_finite},
            )


def _all_finite(x_ND: Tensor) -> bool:
    """Whether nothing is NaN or infinite, at the price of one sum. False may also mean that the sum overflowed."""
    return bool(torch.isfinite(x_ND.sum(dtype=torch.promote_types(x_ND.dtype, torch.float32))))
