"""Training rows from a cache of activations on disk, without a language model.

The unit read is the sequence: its rows lie one after the other, so that a random order of sequences is still read at
the speed of the disk. Epoch e reads all of them in an order that is a function of (seed, e); with
``activations_mixing_fraction`` 0 it is the order on disk, as nothing is to be mixed. The mixing buffer then mixes rows
as it does those of a model.

Shapes: P sequences of a chunk, S positions kept of each, D d_in, N rows.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.rows import Rows, seeded_generator
from pyworker.errors import WorkerError
from pyworker.protocol.config import LanguageModelSAERunnerConfig

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 10
"""At most one of so many sequences is kept for evaluation, as of a dataset."""
UNKNOWN_TOKEN = -1


class CachedSequences:
    """Random access to the sequences of one hook of a cache.

    Args:
        cache: opened, and checked against the configuration.
        hook_name: one of its hooks.

    Raises:
        WorkerError: ``STORAGE`` naming the shard that is not what the cache says it holds.
    """

    def __init__(self, cache: ActivationCache, hook_name: str):
        batches = [batch for shard in cache.shards for batch in shard.batches]
        self._x_NSD = [batch.activations[hook_name] for batch in batches]
        self._token_ids_NS = [batch.token_ids_NS for batch in batches]
        self._starts = np.cumsum([0, *(len(x) for x in self._x_NSD)])
        self._dtype, self._d_in = cache.stored_dtype, cache.d_in[hook_name]
        self.has_tokens = all(tokens is not None for tokens in self._token_ids_NS)
        self.position_S = torch.from_numpy(_positions(cache))
        self.name = f"cache {str(cache.path)!r}"

    def __len__(self) -> int:
        return int(self._starts[-1])

    def tokens(self, index_P: np.ndarray) -> np.ndarray:
        """token_ids_PS, int32; -1 in a cache without tokens."""
        tokens_PS = np.full((len(index_P), len(self.position_S)), UNKNOWN_TOKEN, np.int32)
        if self.has_tokens:
            for place, (batch, row) in enumerate(self._places(index_P)):
                tokens_PS[place] = self._token_ids_NS[batch][row]
        return tokens_PS

    def rows(self, index_P: np.ndarray, number_P: np.ndarray) -> Rows:
        """All rows of the sequences at ``index_P``; ``number_P`` is what each is called in ``sequence_N``."""
        n_positions = len(self.position_S)
        x_PSD = np.empty((len(index_P), n_positions, self._d_in), self._dtype)
        for place, (batch, row) in enumerate(self._places(index_P)):
            x_PSD[place] = self._x_NSD[batch][row]
        return Rows(
            x_ND=torch.from_numpy(x_PSD).flatten(0, 1),
            token_id_N=torch.from_numpy(self.tokens(index_P)).flatten(),
            position_N=self.position_S.repeat(len(index_P)),
            sequence_N=torch.from_numpy(number_P).repeat_interleave(n_positions),
        )

    def _places(self, index_P: np.ndarray) -> Iterator[tuple[int, int]]:
        """(record batch, row in it) of each sequence."""
        batch_P = np.searchsorted(self._starts, index_P, side="right") - 1
        return zip(batch_P.tolist(), (index_P - self._starts[batch_P]).tolist(), strict=True)


class CachedRows:
    """A :class:`RowSource`: one chunk is ``store_batch_size_prompts`` sequences.

    Args:
        cfg: the run's configuration.
        sequences: those of its hook.
        n_reserved: sequences at the head of the cache that are never trained on.
        special_token_ids: asked for them only when the configuration excludes all special tokens.
    """

    restarts = True
    model_seconds = 0.0

    def __init__(
        self,
        cfg: LanguageModelSAERunnerConfig,
        sequences: CachedSequences,
        n_reserved: int,
        special_token_ids: Callable[[], list[int]],
    ):
        self.name = sequences.name
        self.giver = (
            self.name,
            "the cache was made so: look at it with `sae-lens-ts cache info`, make it anew",
        )
        self.special_token_ids = special_token_ids
        self._sequences = sequences
        self._n_prompts, self._seed = cfg.store_batch_size_prompts, cfg.seed
        self._ordered = cfg.activations_mixing_fraction == 0
        self._repeats = cfg.on_data_end == "repeat"
        self._n_reserved = n_reserved
        self._n_epoch = len(sequences) - n_reserved
        if self._n_epoch < 1:
            raise WorkerError(
                "DATASET_EXHAUSTED",
                f"{self.name} holds no sequence to train on: {n_reserved} of {len(sequences)} are held out",
                hint="make a larger cache, or set n_eval_batches 0",
            )
        if cfg.exclude_special_tokens and not sequences.has_tokens:
            raise WorkerError(
                "CONFIG_INVALID",
                f"exclude_special_tokens is set, but {self.name} holds no token ids",
                hint="set exclude_special_tokens false, or make another cache",
            )

    def chunks(self, start: int = 0) -> Iterator[Rows]:
        """See :class:`RowSource`. The end of an epoch is said once."""
        first, warned = start * self._n_prompts, False
        epoch, order = -1, np.empty(0, np.int64)
        while True:
            number_P = np.arange(first, first + self._n_prompts)
            if not self._repeats:
                number_P = number_P[number_P < self._n_epoch]
            index_P = np.empty_like(number_P)
            for place, number in enumerate(number_P.tolist()):
                at, row = divmod(number, self._n_epoch)
                if at != epoch:
                    epoch, order = at, self._order(at)
                index_P[place] = order[row]
            first += self._n_prompts
            if first > self._n_epoch and not warned:
                warned = True
                outcome = "it is read again" if self._repeats else "on_data_end is stop"
                log.warning("%s ends after %d sequences; %s", self.name, self._n_epoch, outcome)
            if not len(number_P):
                return
            yield self._sequences.rows(index_P, number_P)

    def paused(self) -> AbstractContextManager:
        """See :class:`RowSource`. No model computes here."""
        return nullcontext()

    def _order(self, epoch: int) -> np.ndarray:
        """Places in the cache of the training sequences 0, 1, … of an epoch."""
        if self._ordered:
            return np.arange(self._n_reserved, len(self._sequences))
        generator = seeded_generator(self._seed, "cached_sequences", epoch)
        return torch.randperm(self._n_epoch, generator=generator).numpy() + self._n_reserved


class HeldOutSequences:
    """The first sequences of a cache: every evaluation of a run is made on them, and training never sees them.

    Args:
        cfg: the run's configuration; at most a tenth of a small cache is kept, as of a small dataset.
        sequences: those of its hook.

    Attributes:
        n_sequences: how many.
    """

    def __init__(self, cfg: LanguageModelSAERunnerConfig, sequences: CachedSequences):
        n_wanted = cfg.n_eval_batches * cfg.eval_batch_size_prompts
        n_at_most = max(1, len(sequences) // HELD_OUT_SHARE) if len(sequences) > 1 else 0
        self.n_sequences = min(n_wanted, n_at_most)
        if self.n_sequences < n_wanted:
            log.warning(
                "%s holds %d sequences: %d of the %d asked are kept for evaluation",
                sequences.name,
                len(sequences),
                self.n_sequences,
                n_wanted,
            )
        self._sequences, self._batch_prompts = sequences, cfg.eval_batch_size_prompts

    @property
    def n_batches(self) -> int:
        """How many :meth:`batches` gives."""
        return -(-self.n_sequences // self._batch_prompts)

    def batches(self) -> Iterator[Rows]:
        """Batches of up to ``eval_batch_size_prompts`` sequences, the same ones at each call."""
        for start in range(0, self.n_sequences, self._batch_prompts):
            index_P = np.arange(start, min(start + self._batch_prompts, self.n_sequences))
            yield self._sequences.rows(index_P, index_P)

    def tokens(self) -> Tensor:
        """tokens_ES of all of them, int64."""
        return torch.from_numpy(self._sequences.tokens(np.arange(self.n_sequences))).long()


def _positions(cache: ActivationCache) -> np.ndarray:
    """Which positions of their sequence the cached ones are, int32; without a manifest, the first ones."""
    made = cache.manifest
    kept = range(cache.context) if made is None else range(made.context_size)[slice(*made.seqpos_slice)]
    return np.array(kept, np.int32)
