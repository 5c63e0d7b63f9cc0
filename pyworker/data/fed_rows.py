"""Training rows that come from outside: whoever makes them, TypeScript sends them down as frames.

Shapes: D d_in, N rows.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain

import numpy as np
import torch

from pyworker.data.rows import Rows
from pyworker.errors import WorkerError

Frame = list[np.ndarray]
"""token_id_N, position_N, sequence_N, activation_ND: the columns of an activation frame, in order."""


class FedRows:
    """A :class:`RowSource`: one chunk is one frame, of any number of rows. They come once and cannot be read again.

    Args:
        first: the first frame; None when there is none.
        frames: those after it, as they come.
        d_in: the width the configuration wants; None for that of the first frame.

    Attributes:
        d_in: the width of the rows.

    Raises:
        WorkerError: ``DATASET_EXHAUSTED`` when there is no frame, ``D_IN_MISMATCH``.
    """

    restarts = False
    model_seconds = 0.0
    name = "the activations fed"
    giver = (name, "look at what produces them; dtype must be wide enough for them")

    def __init__(self, first: Frame | None, frames: Iterator[Frame], d_in: int | None):
        if first is None:
            raise WorkerError(
                "DATASET_EXHAUSTED", "the activations fed ended before their first row", hint=self.giver[1]
            )
        self.d_in = first[-1].shape[1]
        if d_in not in (None, self.d_in):
            raise WorkerError(
                "D_IN_MISMATCH",
                f"sae.d_in is {d_in}, but the activations fed are {self.d_in} wide",
                hint=f"set d_in to {self.d_in}, or leave it out",
            )
        self._frames = chain((first,), frames)

    def chunks(self, start: int = 0) -> Iterator[Rows]:
        """See :class:`RowSource`. Raises NOT_FINITE at the first row that has NaN or infinity."""
        n_seen = 0
        for token_id, position, sequence, activation in self._frames:
            # Copied: a frame's memory is read-only, and torch has no read-only tensors.
            x_ND = torch.from_numpy(activation.copy())
            finite_N = torch.isfinite(x_ND).all(dim=-1)
            if not finite_N.all():
                row = n_seen + int((~finite_N).int().argmax())
                raise WorkerError(
                    "NOT_FINITE",
                    f"row {row} of the activations fed has NaN or infinity",
                    hint="look at what produces them; leave such rows out",
                    details={"row": row},
                )
            n_seen += len(x_ND)
            yield Rows(x_ND, *(torch.from_numpy(column.copy()) for column in (token_id, position, sequence)))

    def special_token_ids(self) -> list[int]:
        """There is no model to ask.

        Raises:
            WorkerError: ``CONFIG_INVALID``.
        """
        raise WorkerError(
            "CONFIG_INVALID",
            "exclude_special_tokens is true, but no model says which tokens of the activations fed are special",
            hint="give a list of token ids, or false",
        )

    def paused(self) -> AbstractContextManager:
        """See :class:`RowSource`. No model computes here."""
        return nullcontext()
