"""Datasets, tokens and activations: everything between a dataset and a training batch."""

from pyworker.data.activation_stream import ActivationStream
from pyworker.data.held_out import EvalTokens, TokenData, open_token_data
from pyworker.data.mixing_buffer import MixingBuffer, seeded_permutation
from pyworker.data.model_rows import LanguageModelRows
from pyworker.data.row_source import RowSource
from pyworker.data.rows import Rows
from pyworker.data.token_sequences import TokenSequences

__all__ = [
    "ActivationStream",
    "EvalTokens",
    "LanguageModelRows",
    "MixingBuffer",
    "RowSource",
    "Rows",
    "TokenData",
    "TokenSequences",
    "open_token_data",
    "seeded_permutation",
]
