"""Datasets, tokens and activations: everything between a dataset and a training batch."""

from pyworker.data.activation_stream import ActivationStream
from pyworker.data.cached_rows import CachedRows, CachedSequences, HeldOutSequences
from pyworker.data.fed_rows import FedRows
from pyworker.data.held_out import (
    EvalTokens,
    TokenData,
    open_eval_tokens,
    open_token_data,
    other_eval_dataset,
)
from pyworker.data.mixing_buffer import MixingBuffer, seeded_permutation
from pyworker.data.model_rows import LanguageModelRows
from pyworker.data.row_source import RowSource
from pyworker.data.rows import Rows
from pyworker.data.token_sequences import TokenSequences

__all__ = [
    "ActivationStream",
    "CachedRows",
    "CachedSequences",
    "EvalTokens",
    "FedRows",
    "HeldOutSequences",
    "LanguageModelRows",
    "MixingBuffer",
    "RowSource",
    "Rows",
    "TokenData",
    "TokenSequences",
    "open_eval_tokens",
    "open_token_data",
    "other_eval_dataset",
    "seeded_permutation",
]
