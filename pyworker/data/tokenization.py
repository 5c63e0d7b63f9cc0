"""Texts to token ids, and token ids to sequences of exactly ``context_size``.

The packing rule is SAELens' (reference/saelens.md §3.1; golden/v6/tokenization.json judges it). Token ids
travel as one-dimensional int64 numpy arrays until they become a batch for the language model.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from pyworker.data.row_kind import Tokens
from pyworker.errors import WorkerError
from pyworker.text_encoding import chat_ids

log = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """What we need of a Hugging Face tokenizer."""

    def __call__(self, text: list[str], **options: Any) -> Any:
        """Token ids of each text, under ``input_ids``."""
        ...

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any:
        """Token ids of a conversation."""
        ...


class TokenizingModel(Protocol):
    """What making tokens needs of the language model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; an error when it has none."""
        ...

    @property
    def bos_token_id(self) -> int | None:
        """Begin of sequence."""
        ...

    @property
    def eos_token_id(self) -> int | None:
        """End of sequence."""
        ...

    @property
    def sep_token_id(self) -> int | None:
        """Separator."""
        ...

    @property
    def vocab_size(self) -> int:
        """Token ids the model knows: 0 to this, exclusive."""
        ...


def tokenize_texts(batches: Iterable[Sequence[str | None]], tokenizer: Tokenizer) -> Iterator[Tokens]:
    """Token ids of each text, without special tokens and without truncation; many texts for each call.

    Fast tokenizers work on the texts of a call in parallel; the ids are those of one call a text. Empty and
    null texts give nothing.
    """
    for batch in batches:
        texts = [text for text in batch if text]
        if not texts:
            continue
        # verbose=False: a text longer than the model's context is no mistake here, it is cut into sequences
        encoded = tokenizer(
            texts, add_special_tokens=False, truncation=False, return_attention_mask=False, verbose=False
        )
        for ids in encoded["input_ids"]:
            yield np.asarray(ids, dtype=np.int64)


def tokenize_chats(batches: Iterable[Sequence[Any]], tokenizer: Tokenizer) -> Iterator[Tokens]:
    """Token ids of each conversation through the chat template; a plain text becomes one user turn."""
    if not getattr(tokenizer, "chat_template", None):
        raise WorkerError(
            "TOKENIZER_MISMATCH",
            "use_chat_formatting is set, but the model's tokenizer has no chat template",
            hint="use the model's instruct version, or switch use_chat_formatting off",
        )
    for batch in batches:
        for turns in batch:
            if not turns:
                continue
            yield np.asarray(chat_ids(tokenizer, turns), dtype=np.int64)


def special_token_id(token: int | Literal["bos", "eos", "sep"] | None, lm: TokenizingModel) -> int | None:
    """The id that ``prepend_bos`` or ``sequence_separator_token`` names, by role or number.

    BOS is what both ask for by default: a model that has none does without, with a warning.

    Raises:
        WorkerError: ``CONFIG_INVALID`` when the model has no such token.
    """
    if token is None or (isinstance(token, int) and 0 <= token < lm.vocab_size):
        return token
    token_id = None if isinstance(token, int) else getattr(lm, f"{token}_token_id")
    if token_id is None and token == "bos":
        log.warning("the model has no BOS token; none is inserted")
    elif token_id is None:
        there = [name for name in ("bos", "eos", "sep") if getattr(lm, f"{name}_token_id") is not None]
        raise WorkerError(
            "CONFIG_INVALID",
            f"sequence_separator_token is {token!r}, but the model has no such token"
            + (f": its ids are 0 to {lm.vocab_size - 1}" if isinstance(token, int) else ""),
            hint=f"use {', '.join(map(repr, there))}, a token id or null"
            if there
            else "use a token id or null",
        )
    return token_id


class SequencePacker:
    """Fills sequences of ``context_size`` tokens from documents laid end to end.

    Args:
        context_size: tokens of each sequence.
        begin_batch_token_id: stands first in each sequence (BOS).
        begin_sequence_token_id: stands before each document.
        sequence_separator_token_id: stands between two documents of one sequence.

    A special token is left out where the token after it is the same one already.

    Raises:
        WorkerError: ``CONFIG_INVALID`` when a sequence would have no room for the documents.
    """

    def __init__(
        self,
        context_size: int,
        begin_batch_token_id: int | None = None,
        begin_sequence_token_id: int | None = None,
        sequence_separator_token_id: int | None = None,
    ):
        smallest = 1 if begin_batch_token_id is None else 2
        if context_size < smallest:
            raise WorkerError(
                "CONFIG_INVALID",
                f"context_size is {context_size}; it must be at least {smallest}"
                + ("" if smallest == 1 else ", since BOS takes the first place of each sequence"),
                hint=f"set context_size to {smallest} or more",
            )
        self._begin_batch = begin_batch_token_id
        self._begin_sequence = begin_sequence_token_id
        self._separator = sequence_separator_token_id
        self._context_size = context_size
        self.parts: list[Tokens] = []
        self.filled = 0

    def take(self, document: Tokens, offset: int, starts_document: bool) -> tuple[int, bool]:
        """Put as much of ``document[offset:]`` as fits into the current sequence.

        Returns:
            the offset to go on from, and whether the document's start token did not fit and is still owed.
        """
        specials: list[int] = []
        following = document[offset]
        owes_start = (
            starts_document and self._begin_sequence is not None and following != self._begin_sequence
        )
        if owes_start:
            specials = [self._begin_sequence]
            following = self._begin_sequence
        opening = self._begin_batch if self.filled == 0 else self._separator
        if opening is not None and following != opening:
            specials = [opening, *specials]
        room = self._context_size - self.filled
        end = offset + max(room - len(specials), 0)
        part = np.concatenate([np.array(specials[:room], dtype=np.int64), document[offset:end]])
        self.parts.append(part)
        self.filled += len(part)
        return end, owes_start and len(specials) > room

    def pop(self) -> Tokens:
        """The current sequence, whole or not; the next one starts empty."""
        sequence = np.concatenate(self.parts)
        self.parts, self.filled = [], 0
        return sequence

    @property
    def full(self) -> bool:
        """Whether the current sequence has all its tokens."""
        return self.filled == self._context_size


def concat_and_batch_sequences(
    documents: Iterable[Tokens],
    context_size: int,
    *,
    begin_batch_token_id: int | None = None,
    begin_sequence_token_id: int | None = None,
    sequence_separator_token_id: int | None = None,
    disable_concat_sequences: bool = False,
) -> Iterator[Tokens]:
    """Sequences of exactly ``context_size`` tokens; see :class:`SequencePacker` for the special tokens.

    A document goes on in the next sequence; the last sequence is dropped when it is not full. With
    ``disable_concat_sequences`` each document gives at most one sequence, cut to size, or none when it is too
    short (the first special token counts).
    """
    if disable_concat_sequences:
        yield from _one_sequence_each(documents, context_size, begin_sequence_token_id, begin_batch_token_id)
        return
    packer = SequencePacker(
        context_size, begin_batch_token_id, begin_sequence_token_id, sequence_separator_token_id
    )
    for document in documents:
        if document.ndim != 1:
            raise WorkerError(
                "DATASET_INVALID",
                f"a tokenized text must have one dimension, but has shape {document.shape}",
                hint="give each row of the dataset one list of token ids",
            )
        offset, starts_document = 0, True
        while offset < len(document):
            offset, starts_document = packer.take(document, offset, starts_document)
            if packer.full:
                yield packer.pop()


def _one_sequence_each(
    documents: Iterable[Tokens], context_size: int, begin_sequence: int | None, begin_batch: int | None
) -> Iterator[Tokens]:
    SequencePacker(context_size, begin_batch)  # the same demands on context_size
    first = begin_batch if begin_sequence is None else begin_sequence
    for document in documents:
        if len(document) == 0:
            continue
        needs_first = first is not None and document[0] != first
        if len(document) + needs_first < context_size:
            continue
        if needs_first:
            yield np.concatenate([np.array([first], dtype=np.int64), document[: context_size - 1]])
        else:
            yield document[:context_size]


def pretokenized_sequences(
    rows: Iterable[Tokens | None], context_size: int, on_cut: Callable[[int], None]
) -> Iterator[Tokens]:
    """Rows of token ids as sequences: cut to ``context_size``, empty ones skipped.

    ``on_cut`` is told the length of each row that loses tokens.

    Raises:
        WorkerError: ``DATASET_INVALID`` when a row is shorter than that.
    """
    for tokens in rows:
        if tokens is None or len(tokens) == 0:
            continue
        if len(tokens) < context_size:
            raise WorkerError(
                "DATASET_INVALID",
                f"the dataset is tokenized in rows of {len(tokens)} tokens, context_size is {context_size}",
                hint=f"set context_size to {len(tokens)} or less, or pretokenize again",
            )
        if len(tokens) > context_size:
            on_cut(len(tokens))
        yield tokens[:context_size]
