"""Texts and conversations to token ids in several processes, in order.

Token ids are those of ``tokenizer.encode(text)``, special tokens included, as SAELens' pretokenizer has them.
A process gets a copy of the tokenizer's own Rust part, which needs no import of transformers; a tokenizer
written in Python, or a chat template, goes whole. Processes import this module, which is why it lies outside of
packages that import torch: they are there in a third of a second.
"""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from pyworker.errors import WorkerError

COMPARED_TEXTS = 8
"""On so many texts the Rust part is held against the whole tokenizer, which may do more than that part."""
ALONE_SECONDS = 0.5
"""A small dataset is done before other processes would be there, so they are not started at once."""
BATCHES_AHEAD = 2
"""For each process: one at work and one waiting, so that none runs dry and memory stays bounded."""


class Encoded(NamedTuple):
    """The tokens of some documents.

    Attributes:
        tokens: int32, end to end.
        lengths: int64, tokens of each document.
    """

    tokens: np.ndarray
    lengths: np.ndarray


Encoder = Callable[[Sequence[Any]], Encoded]


class TextEncoder:
    """The Rust part of a fast tokenizer."""

    def __init__(self, definition: str, split_special_tokens: bool):
        self._definition = definition
        self._split_special_tokens = split_special_tokens
        self._tokenizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokenizer": None}

    def __call__(self, texts: Sequence[str | None]) -> Encoded:
        """Token ids of the texts; null ones give nothing, not even special tokens."""
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(self._definition)
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            self._tokenizer.encode_special_tokens = self._split_special_tokens
        there = [text for text in texts if text is not None]
        return _joined([encoding.ids for encoding in self._tokenizer.encode_batch_fast(there)])


class WholeEncoder:
    """A tokenizer as transformers has it, for what its Rust part alone does not do."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str | None]) -> Encoded:
        """As :class:`TextEncoder`."""
        return _joined([self._tokenizer.encode(text) for text in texts if text is not None])


class ChatEncoder(WholeEncoder):
    """Conversations through the chat template; a plain text is one user turn.

    Raises:
        WorkerError: ``TOKENIZER_MISMATCH`` without a chat template, ``DATASET_INVALID`` for what it refuses.
    """

    def __init__(self, tokenizer: Any):
        super().__init__(tokenizer)
        if not getattr(tokenizer, "chat_template", None):
            raise WorkerError(
                "TOKENIZER_MISMATCH",
                "use_chat_formatting is set, but the tokenizer has no chat template",
                hint="name the tokenizer of the model's instruct version, or switch use_chat_formatting off",
            )

    def __call__(self, conversations: Sequence[Any]) -> Encoded:
        """Token ids of the conversations; empty and null ones give nothing."""
        return _joined([chat_ids(self._tokenizer, turns) for turns in conversations if turns])


def chat_ids(tokenizer: Any, turns: Any) -> list[int]:
    """Token ids of one conversation through the chat template; a plain text becomes one user turn.

    Raises:
        WorkerError: DATASET_INVALID when the template refuses it.
    """
    conversation = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    try:
        return tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=False)
    except Exception as cause:  # a template is a program of the model's author: any error may come
        raise WorkerError(
            "DATASET_INVALID",
            f"the chat template refused a conversation: {cause}",
            hint="it says which roles it takes, and in which order; or name another dataset_column",
        ) from cause


def encoder_for(tokenizer: Any, sample: Sequence[Any], chat: bool) -> Encoder:
    """The quickest encoder that gives the ids of ``tokenizer`` on ``sample``, the first texts of the dataset."""
    if chat:
        return ChatEncoder(tokenizer)
    whole = WholeEncoder(tokenizer)
    if not getattr(tokenizer, "is_fast", False):
        return whole
    quick = TextEncoder(
        tokenizer.backend_tokenizer.to_str(), bool(getattr(tokenizer, "split_special_tokens", False))
    )
    some = [text for text in sample if text is not None][:COMPARED_TEXTS]
    same = all(np.array_equal(ours, theirs) for ours, theirs in zip(quick(some), whole(some), strict=True))
    return quick if same else whole


def encode_batches(
    batches: Iterator[Sequence[Any]], encoder: Encoder, num_proc: int
) -> Iterator[tuple[int, Encoded]]:
    """Each batch's number of rows and its tokens, in the order of the batches.

    Args:
        batches: rows of the dataset.
        encoder: see :func:`encoder_for`.
        num_proc: processes; 1 is this one, which also works while others start.

    Raises:
        WorkerError: ``OUT_OF_MEMORY`` when a process was killed from outside.
    """
    began = time.monotonic()
    pool: ProcessPoolExecutor | None = None
    started: Future[None] | None = None
    waiting: deque[tuple[int, Future[Encoded]]] = deque()
    with _one_thread_each(), _deaths_named():
        try:
            for batch in batches:
                if pool is None and num_proc > 1 and time.monotonic() - began > ALONE_SECONDS:
                    pool = _pool(encoder, num_proc)
                    started = pool.submit(_nothing)
                if pool is None or started is None or not started.done():
                    yield len(batch), encoder(batch)
                    continue
                waiting.append((len(batch), pool.submit(_encode, batch)))
                if len(waiting) == num_proc * BATCHES_AHEAD:
                    n_rows, future = waiting.popleft()
                    yield n_rows, future.result()
            for n_rows, future in waiting:
                yield n_rows, future.result()
        finally:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)


def _pool(encoder: Encoder, num_proc: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        num_proc,
        # A fork of a process with threads may inherit a lock that nobody will ever release.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(encoder,),
    )


@contextmanager
def _deaths_named() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as cause:
        raise WorkerError(
            "OUT_OF_MEMORY",
            "a process that tokenizes was killed, most likely because memory ran out",
            hint="lower num_proc or pretokenize_batch_size, then run the same command again: it continues",
        ) from cause


_own: Encoder | None = None  # of a process of the pool


def _begin(encoder: Encoder) -> None:
    global _own  # noqa: PLW0603  a pool has no other way to give its processes something once
    _own = encoder


def _nothing() -> None:
    """Its answer says that a process is there."""


def _encode(batch: Sequence[Any]) -> Encoded:
    assert _own is not None
    return _own(batch)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """``num_proc`` says how many processors are used: the tokenizer is not to take all of them by itself."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _joined(documents: list[list[int]]) -> Encoded:
    parts = [np.array(ids, dtype=np.int32) for ids in documents]
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    return Encoded(np.concatenate(parts) if parts else np.empty(0, dtype=np.int32), lengths)
