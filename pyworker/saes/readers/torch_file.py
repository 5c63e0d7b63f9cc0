"""The only place that opens what ``torch.save`` wrote: as tensors and plain values, by the reader that runs nothing."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.saes.readers.archive import check_unpacked_size


def read_torch(path: Path) -> dict[str, Tensor]:
    """Tensors by name.

    Raises:
        WorkerError: PICKLE_REFUSED, for everything but tensors by name: it may be damaged, or run code.
    """
    state = read_torch_state(path)
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise _refused(path, "expected tensors by name")
    return state


def read_torch_state(path: Path) -> dict[str, Any]:
    """Tensors, numbers, texts, and lists and dictionaries of them, by name.

    Raises:
        WorkerError: PICKLE_REFUSED, for everything else: it may be damaged, or run code.
    """
    try:
        check_unpacked_size(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a hostile file makes of the reader
        first_line = str(error).strip().split("\n", 1)[0]
        raise _refused(path, f"it is not a file of tensors alone ({first_line})") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise _refused(path, "expected tensors by name")
    return state


def _refused(path: Path, reason: str) -> WorkerError:
    return WorkerError(
        "PICKLE_REFUSED",
        f"reading {path}: {reason}",
        hint="Pickles can run code. Where you trust the file, save its tensors as ae.safetensors beside it.",
    )
