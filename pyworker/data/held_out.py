"""Opens the dataset of a run: sequences to train on, and sequences to evaluate on that are never trained on.

SAELens evaluates on training data and consumes it (reference/saelens.md §3.5); here the two are apart, and
every evaluation of a run sees the same tokens, so that its numbers can be compared.

Shapes: E evaluation prompts, C context.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pyworker.data.datasets import Source, open_source
from pyworker.data.token_sequences import SequenceReader, TokenSequences
from pyworker.data.tokenization import Tokenizer, TokenizingModel, Tokens
from pyworker.errors import WorkerError
from pyworker.lm.tokenizer import vocabulary_sha256
from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig
from pyworker.protocol.config import LanguageModelSAERunnerConfig

log = logging.getLogger(__name__)

SMALLEST_DATASET = 10
"""How many times the sequences asked for evaluation a dataset must have, or fewer are kept for it."""


class EvalTokens:
    """The tokens every evaluation of a run is made on.

    Attributes:
        tokens_EC: int64, possibly of no rows.
    """

    def __init__(self, sequences: list[Tokens], context_size: int, batch_prompts: int):
        empty = np.empty((0, context_size), dtype=np.int64)
        self.tokens_EC = torch.from_numpy(np.stack(sequences) if sequences else empty)
        self._batch_prompts = batch_prompts

    @property
    def n_batches(self) -> int:
        """How many :meth:`batches` gives."""
        return -(-len(self.tokens_EC) // self._batch_prompts)

    def batches(self) -> Iterator[Tensor]:
        """Batches of up to ``eval_batch_size_prompts`` prompts, the same ones at each call."""
        if len(self.tokens_EC):
            yield from self.tokens_EC.split(self._batch_prompts)


@dataclass(frozen=True)
class TokenData:
    """What a run reads."""

    training: TokenSequences
    evaluation: EvalTokens


def open_token_data(cfg: LanguageModelSAERunnerConfig, lm: TokenizingModel) -> TokenData:
    """Open the dataset(s) that ``cfg`` names and set the evaluation's sequences apart.

    These come from ``eval_dataset_path``, or from another split of the training dataset when
    ``eval_dataset_split`` names one; else they are the first of the training dataset, at most a tenth of it.

    Raises:
        WorkerError: ``DATASET_NOT_FOUND``, ``DATASET_INVALID``, ``DATASET_EXHAUSTED``,
            ``TOKENIZER_MISMATCH``, ``HUB``.
    """
    reader = open_reader(cfg, lm, cfg.dataset_path, cfg.dataset_split)
    n_wanted = cfg.n_eval_batches * cfg.eval_batch_size_prompts
    other = other_eval_dataset(cfg)
    n_reserved, n_exact = 0, None
    held_out: list[Tokens] = []
    if n_wanted and other is not None:
        held_out = _read_other(cfg, lm, n_wanted, *other)
    elif n_wanted:
        sequences, n_enough = iter(reader), n_wanted * SMALLEST_DATASET
        held_out = list(islice(sequences, n_wanted))
        n_seen = len(held_out) + sum(1 for _ in islice(sequences, n_enough - len(held_out)))
        n_exact = n_seen if n_seen < n_enough else None
        n_reserved = n_wanted if n_exact is None else _share_of_small(n_exact, n_wanted)
        held_out = held_out[:n_reserved]
    n_sequences = reader.estimate_length() if n_exact is None else n_exact
    if n_sequences is not None:
        _warn_if_short(cfg, n_sequences - n_reserved)
    return TokenData(
        training=TokenSequences(lambda: iter(reader), cfg.dataset_path, cfg.on_data_end, n_reserved),
        evaluation=EvalTokens(held_out, cfg.context_size, cfg.eval_batch_size_prompts),
    )


def open_eval_tokens(cfg: LanguageModelSAERunnerConfig, lm: TokenizingModel) -> EvalTokens:
    """The evaluation's sequences alone, of a run that names a dataset for them: see :func:`other_eval_dataset`.

    Raises:
        WorkerError: as :func:`open_token_data`.
    """
    other = other_eval_dataset(cfg)
    assert other is not None
    held_out = _read_other(cfg, lm, cfg.n_eval_batches * cfg.eval_batch_size_prompts, *other)
    return EvalTokens(held_out, cfg.context_size, cfg.eval_batch_size_prompts)


def _read_other(
    cfg: LanguageModelSAERunnerConfig, lm: TokenizingModel, n_wanted: int, path: str, split: str
) -> list[Tokens]:
    held_out = list(islice(iter(open_reader(cfg, lm, path, split)), n_wanted))
    if not held_out:
        raise WorkerError(
            "DATASET_EXHAUSTED",
            f"evaluation dataset {path!r} gives no whole sequence of {cfg.context_size} tokens",
            hint="use more text for it, or leave eval_dataset_path and eval_dataset_split out",
        )
    if len(held_out) < n_wanted:
        log.warning("evaluation dataset %s gives %d sequences of %d asked", path, len(held_out), n_wanted)
    return held_out


def open_reader(
    cfg: LanguageModelSAERunnerConfig | CacheActivationsRunnerConfig,
    lm: TokenizingModel,
    path: str,
    split: str,
) -> SequenceReader:
    """Sequences of one dataset, read as ``cfg`` says; checked against how the dataset was tokenized."""
    source = open_source(
        path,
        name=cfg.dataset_name if path == cfg.dataset_path else None,
        split=split,
        column=cfg.dataset_column,
        streaming=cfg.streaming,
        trust_remote_code=cfg.dataset_trust_remote_code,
        is_tokenized=cfg.is_dataset_tokenized,
        chat=cfg.use_chat_formatting,
    )
    if source.pretokenized is not None:
        _check_pretokenized(source, source.pretokenized, cfg.context_size, lm)
    return SequenceReader(
        source,
        lm,
        context_size=cfg.context_size,
        prepend_bos=cfg.prepend_bos,
        sequence_separator_token=cfg.sequence_separator_token,
        disable_concat_sequences=cfg.disable_concat_sequences,
    )


def other_eval_dataset(cfg: LanguageModelSAERunnerConfig) -> tuple[str, str] | None:
    """Path and split of the dataset that evaluations have for themselves; None when training data is kept back."""
    if cfg.eval_dataset_path is not None:
        return cfg.eval_dataset_path, cfg.eval_dataset_split
    if cfg.eval_dataset_split not in ("train", cfg.dataset_split):
        return cfg.dataset_path, cfg.eval_dataset_split
    return None


def _share_of_small(n_sequences: int, n_wanted: int) -> int:
    if n_sequences < 2:
        log.warning("the dataset gives %d sequence(s): none is kept for evaluation", n_sequences)
        return 0
    n_reserved = max(1, n_sequences // SMALLEST_DATASET)
    if n_reserved < n_wanted:
        log.warning(
            "the dataset gives only %d sequences: %d of the %d asked are kept for evaluation; "
            "eval_dataset_path names another dataset for it",
            n_sequences,
            n_reserved,
            n_wanted,
        )
    return min(n_reserved, n_wanted)


def _warn_if_short(cfg: LanguageModelSAERunnerConfig, n_sequences: int) -> None:
    tokens_per_sequence = len(range(cfg.context_size)[slice(*cfg.seqpos_slice)])
    n_tokens = n_sequences * tokens_per_sequence
    n_asked = cfg.training_tokens + cfg.finetuning_tokens
    if 0 < n_tokens < n_asked:
        outcome = (
            f"it is read {n_asked / n_tokens:.1f} times"
            if cfg.on_data_end == "repeat"
            else "training ends with it"
        )
        log.warning(
            "dataset %s gives about %d training tokens, %d are asked: %s",
            cfg.dataset_path,
            n_tokens,
            n_asked,
            outcome,
        )


def _check_pretokenized(source: Source, made: dict, context_size: int, lm: TokenizingModel) -> None:
    """The dataset says how it was tokenized: it must be as the model would."""
    made_context = made.get("context_size")
    if isinstance(made_context, int) and made_context < context_size:
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {source.name!r} was tokenized with context_size {made_context}, not {context_size}",
            hint=f"set context_size to {made_context} or less, or pretokenize again",
        )
    made_with = made.get("tokenizer_name")
    if made_with is None:
        return
    try:
        tokenizer = lm.tokenizer
    except WorkerError as missing:
        log.warning("the tokenizer of dataset %s is not checked: %s", source.name, missing.message)
        return
    ours = getattr(tokenizer, "name_or_path", None)
    if not _same_vocabulary(source, made, tokenizer, ours):
        raise WorkerError(
            "TOKENIZER_MISMATCH",
            f"dataset {source.name!r} was tokenized with {made_with!r}, the model's tokenizer is {ours!r} "
            "and has another vocabulary",
            hint="use the model the dataset was made for, or pretokenize again",
        )


def _same_vocabulary(source: Source, made: dict, tokenizer: Tokenizer, ours: str | None) -> bool:
    made_with, vocabulary = made["tokenizer_name"], made.get("tokenizer_sha256")
    if isinstance(vocabulary, str):  # of our own pretokenizer: wherever the tokenizer lies now
        return vocabulary == vocabulary_sha256(tokenizer)
    if str(made_with).rsplit("/", 1)[-1] == str(ours).rsplit("/", 1)[-1]:  # gpt2 and openai-community/gpt2
        return True
    try:
        return type(tokenizer).from_pretrained(made_with).get_vocab() == tokenizer.get_vocab()
    except Exception as cause:  # loading one can fail in as many ways as it has files
        log.warning("tokenizer %s of dataset %s could not be loaded: %s", made_with, source.name, cause)
        return False
