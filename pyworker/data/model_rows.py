"""Training rows from the language model: sequences read up to the hook.

Shapes: P prompts, C context, S positions kept of it, D d_in, N rows.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from pyworker.data.rows import Rows
from pyworker.data.token_sequences import TokenChunk, TokenSequences
from pyworker.errors import WorkerError
from pyworker.profile import part
from pyworker.protocol.config import LanguageModelSAERunnerConfig


class ActivationModel(Protocol):
    """What is needed of the language model. With prefetching, another thread calls it."""

    def activations(self, tokens_PC: Tensor) -> Tensor:
        """Activations at the hook, [P, C, D]: one head chosen or all of them flattened."""
        ...

    def special_token_ids(self) -> list[int]:
        """The ids of BOS, EOS, PAD and the like."""
        ...

    @property
    def vocab_size(self) -> int:
        """Token ids the model knows: 0 to this, exclusive."""
        ...


class LanguageModelRows:
    """A :class:`RowSource`: one chunk is one batch of the language model, ``store_batch_size_prompts`` sequences.

    Args:
        cfg: the run's configuration.
        lm: the language model.
        sequences: the training sequences.

    Raises:
        WorkerError: ``CONFIG_INVALID`` when ``exclude_special_tokens`` lists an id that the model does not know,
            which would exclude nothing.
    """

    restarts = True
    giver = ("the language model", "float16 overflows in some models: load the model in bfloat16 or float32")

    def __init__(self, cfg: LanguageModelSAERunnerConfig, lm: ActivationModel, sequences: TokenSequences):
        excluded = cfg.exclude_special_tokens
        unknown = [] if isinstance(excluded, bool) else [i for i in excluded if not 0 <= i < lm.vocab_size]
        if unknown:
            raise WorkerError(
                "CONFIG_INVALID",
                f"exclude_special_tokens lists {', '.join(map(str, unknown))}, but the model's token ids are "
                f"0 to {lm.vocab_size - 1}",
                hint=f"leave them out; true stands for {lm.special_token_ids()}",
                details={"unknown": unknown, "vocab_size": lm.vocab_size},
            )
        self.name = f"dataset {sequences.name!r}"
        self.special_token_ids = lm.special_token_ids
        self._n_prompts = cfg.store_batch_size_prompts
        self._position_slice = slice(*cfg.seqpos_slice)
        self.model_seconds = 0.0
        self._lm = lm
        self._sequences = sequences
        self._lock = threading.Lock()

    def chunks(self, start: int = 0) -> Iterator[Rows]:
        """See :class:`RowSource`."""
        for chunk in self._sequences.chunks(self._n_prompts, start):
            yield self._read(chunk)

    def paused(self) -> AbstractContextManager:
        """See :class:`RowSource`."""
        return self._lock

    @torch.no_grad()
    def _read(self, chunk: TokenChunk) -> Rows:
        """The rows of one chunk, in reading order."""
        tokens_PC = chunk.tokens_PC
        with self._lock, part("language model"):
            began = time.perf_counter()
            acts_PCD = self._lm.activations(tokens_PC)
            self.model_seconds += time.perf_counter() - began
        n_prompts = chunk.n_valid
        acts_PSD = acts_PCD[:n_prompts, self._position_slice]
        position_S = torch.arange(tokens_PC.shape[1], dtype=torch.int32)[self._position_slice]
        sequence_P = torch.arange(n_prompts) + chunk.first_sequence
        return Rows(
            x_ND=acts_PSD.reshape(-1, acts_PSD.shape[-1]),
            token_id_N=tokens_PC[:n_prompts, self._position_slice].reshape(-1).to(torch.int32),
            position_N=position_S.repeat(n_prompts),
            sequence_N=sequence_P.repeat_interleave(len(position_S)),
        )
