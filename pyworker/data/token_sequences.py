"""The stream of training sequences: a dataset as numbered sequences of ``context_size`` tokens.

Chunk c is sequences [c·P, (c+1)·P), so that it is a function of c alone (design §10): any worker can make any
chunk, and a resumed run goes on at a chunk number. The order is the dataset's own, as in SAELens; the mixing
buffer mixes.

Shapes: P prompts, C context.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyworker.data.datasets import Source
from pyworker.data.tokenization import (
    TokenizingModel,
    Tokens,
    concat_and_batch_sequences,
    pretokenized_sequences,
    special_token_id,
    tokenize_chats,
    tokenize_texts,
)
from pyworker.errors import WorkerError

log = logging.getLogger(__name__)


SKIPS_TOLD = 256
"""So many sequences are passed over for each sign of life."""


class TokenChunk(NamedTuple):
    """One batch for the language model, always of the same shape.

    Attributes:
        tokens_PC: int64.
        first_sequence: number of the sequence in row 0, counted from 0 across epochs.
        n_valid: rows that count; the rest repeats the last one, to keep the shape where a dataset ended.
    """

    tokens_PC: Tensor
    first_sequence: int
    n_valid: int


class SequenceReader:
    """One pass over a source, as sequences; every pass gives the same ones.

    Args:
        source: the dataset's column.
        lm: the model; its tokenizer reads the texts, its special tokens are those inserted.
        context_size: tokens of each sequence.
        prepend_bos: BOS first in each sequence made from text.
        sequence_separator_token: see the option of this name.
        disable_concat_sequences: see the option of this name.
    """

    def __init__(
        self,
        source: Source,
        lm: TokenizingModel,
        *,
        context_size: int,
        prepend_bos: bool,
        sequence_separator_token: int | Literal["bos", "eos", "sep"] | None,
        disable_concat_sequences: bool,
    ):
        self.source = source
        self.context_size = context_size
        self._lm = lm
        self._vocab_size = lm.vocab_size
        self._disable_concat = disable_concat_sequences
        self._warned_of_cut = False
        self._bos = self._separator = None
        if source.kind != "tokens":  # token ids on disk have their special tokens already
            separates = not disable_concat_sequences
            self._bos = special_token_id("bos" if prepend_bos else None, lm)
            self._separator = special_token_id(sequence_separator_token if separates else None, lm)

    def __iter__(self) -> Iterator[Tokens]:
        for sequence in self._sequences(self.source.batches()):
            largest, smallest = int(sequence.max()), int(sequence.min())
            if largest >= self._vocab_size or smallest < 0:
                raise WorkerError(
                    "TOKENIZER_MISMATCH",
                    f"dataset {self.source.name!r} has the token id {min(smallest, 0) or largest}, "
                    f"the model knows 0 to {self._vocab_size - 1}",
                    hint="the dataset was tokenized for another model, or the tokenizer is not the model's",
                )
            yield sequence

    def estimate_length(self) -> int | None:
        """About how many sequences a pass gives, judged by its first rows; None when streaming."""
        n_rows = self.source.n_rows
        if n_rows is None:
            return None
        sample = next(iter(self.source.batches()))
        n_sequences = sum(1 for _ in self._sequences(iter([sample])))
        return n_sequences * n_rows // len(sample)

    def _sequences(self, batches: Iterator[list]) -> Iterator[Tokens]:
        if self.source.kind == "tokens":
            return pretokenized_sequences(chain.from_iterable(batches), self.context_size, self._warn_of_cut)
        tokenize = tokenize_chats if self.source.kind == "chat" else tokenize_texts
        return concat_and_batch_sequences(
            tokenize(batches, self._lm.tokenizer),
            self.context_size,
            begin_batch_token_id=self._bos,
            sequence_separator_token_id=self._separator,
            disable_concat_sequences=self._disable_concat,
        )

    def _warn_of_cut(self, n_tokens: int) -> None:
        if not self._warned_of_cut:
            self._warned_of_cut = True
            log.warning(
                "rows of %d tokens are cut to context_size %d; the rest of each row is not used",
                n_tokens,
                self.context_size,
            )


class TokenSequences:
    """The training sequences, epoch after epoch; the first ``n_reserved`` of each are left to the evaluation.

    Args:
        read: starts a pass over the dataset.
        name: the dataset, for messages.
        on_data_end: ``repeat`` starts over, with one warning; ``stop`` ends the stream cleanly, with a
            warning, so that the run ends as a run that reached its last token does.
        n_reserved: sequences at the head of the dataset that are never trained on.

    Attributes:
        on_skip: called now and then with (sequences read, sequences to read) on the way to the first one asked for.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[Tokens]],
        name: str,
        on_data_end: Literal["repeat", "stop"],
        n_reserved: int = 0,
    ):
        self.n_reserved = n_reserved
        self.name = name
        self.on_skip: Callable[[int, int], None] = lambda done, total: None
        self._read = read
        self._on_data_end = on_data_end
        self._warned = False

    def sequences(self, start: int = 0) -> Iterator[Tokens]:
        """Sequences ``start``, ``start + 1``, … Always the same ones for the same number."""
        n_seen = 0
        while True:
            n_before = n_seen
            for sequence in islice(self._read(), self.n_reserved, None):
                if n_seen >= start:
                    yield sequence
                elif n_seen % SKIPS_TOLD == 0:
                    self.on_skip(n_seen, start)
                n_seen += 1
            if n_seen == n_before:
                raise WorkerError(
                    "DATASET_EXHAUSTED",
                    f"dataset {self.name!r} gives no training sequence"
                    + (f" beyond the {self.n_reserved} kept for evaluation" if self.n_reserved else ""),
                    hint="use more text or a smaller context_size, or leave disable_concat_sequences out",
                )
            if self._on_data_end == "stop":
                log.warning("dataset %s ended after %d sequences; on_data_end is stop", self.name, n_seen)
                return
            if not self._warned:
                self._warned = True
                log.warning("dataset %s ended after %d sequences; it is read again", self.name, n_seen)
            if start > n_seen:  # after the first pass: whole epochs before the start need not be read again
                n_seen += (start - n_seen) // n_seen * n_seen

    def chunks(self, n_prompts: int, start: int = 0) -> Iterator[TokenChunk]:
        """Chunks ``start``, ``start + 1``, … of ``n_prompts`` sequences each."""
        sequences = self.sequences(start * n_prompts)
        first = start * n_prompts
        while rows := list(islice(sequences, n_prompts)):
            n_valid = len(rows)
            rows += [rows[-1]] * (n_prompts - n_valid)
            yield TokenChunk(torch.from_numpy(np.stack(rows)), first, n_valid)
            first += n_prompts
