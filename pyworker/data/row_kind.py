"""What the rows of a column are: texts, lists of token ids, or conversations; and what is said of one that is not.

People's datasets hold numbers, nulls and nested lists where texts or token ids should be; a tokenizer answers
these with errors that name neither row nor column.
"""

from typing import Any, Literal

import numpy as np

from pyworker.errors import WorkerError

Tokens = np.ndarray  # int64 [n_tokens]
Kind = Literal["tokens", "text", "chat"]

WANTED: dict[Kind, str] = {
    "tokens": "a flat list of integers (token ids)",
    "text": "a text",
    "chat": "a conversation: a list of turns with role and content, or a text",
}
SHOWN_CHARACTERS = 60


def kind_of(value: Any) -> Kind | None:
    """Whether a value looks like a text or like token ids; None when like neither."""
    if isinstance(value, str):
        return "text"
    return "tokens" if isinstance(value, list | tuple | np.ndarray) else None


def checked_row(value: Any, kind: Kind, row: int, where: str) -> Any:
    """One row of a column, of the kind that the column has. Null stays null: such a row gives nothing.

    Args:
        value: what the dataset has there.
        kind: what it must be.
        row: its number, counted from 1.
        where: the column and the dataset, for the message.

    Returns:
        the value; token ids as :data:`Tokens`.

    Raises:
        WorkerError: ``DATASET_INVALID``, naming row, column and what is there.
    """
    if value is None:
        return None
    if kind == "tokens":
        tokens = _token_ids(value)
        if tokens is not None:
            return tokens
    elif isinstance(value, str) or (kind == "chat" and _is_conversation(value)):
        return value
    raise WorkerError(
        "DATASET_INVALID",
        f"row {row} of {where} must be {WANTED[kind]}, but is {shown(value)}",
        hint="mend or drop such rows, or name another column with dataset_column",
        details={"row": row, "wanted": kind},
    )


def shown(value: Any) -> str:
    """A value as it can stand in a message: its beginning, and its type."""
    text = repr(value)
    return (
        f"{text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + '…'} ({type(value).__name__})"
    )


def _token_ids(value: Any) -> Tokens | None:
    if kind_of(value) != "tokens":
        return None
    try:
        tokens = np.asarray(value)
    except ValueError:  # nested lists of unlike lengths
        return None
    if tokens.size == 0 and tokens.ndim == 1:
        return tokens.astype(np.int64)
    return tokens.astype(np.int64) if tokens.ndim == 1 and tokens.dtype.kind in "iu" else None


def _is_conversation(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(turn, dict) for turn in value)
