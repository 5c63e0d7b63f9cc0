"""What a run needs, beside its configuration, to go on as if it had never stopped: tensors and numbers, never a pickle.

Everything that changes while training is in it, and the activations that lie in the mixing buffer too: computing them
again would need every batch of the language model that one of them came from.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.files import Files

STATE_FILE = "training_state.json"
TENSORS_FILE = "training_state.safetensors"
FORMAT = 1
"""Grows when a reader of today could misread a state of tomorrow."""

State = dict[str, Any]
"""Dotted names → tensors, and what JSON holds exactly: integers, floats, booleans, null, names."""


def under(prefix: str, state: State) -> State:
    """The same entries as ``<prefix>.<name>``."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def part_of(state: State, prefix: str) -> State:
    """The way back of :func:`under`."""
    return {name[len(prefix) + 1 :]: value for name, value in state.items() if name.startswith(f"{prefix}.")}


def copied(state: State) -> State:
    """The same entries on the CPU, with tensors of their own: training may go on and change its."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        if isinstance(value, Tensor)
        else value
        for name, value in state.items()
    }


def state_files(state: State) -> Files:
    """The two files of a state."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    numbers = {name: value for name, value in state.items() if name not in tensors}
    return {TENSORS_FILE: tensors, STATE_FILE: json.dumps({"format": FORMAT, **numbers}, allow_nan=False)}


def read_state(folder: Path) -> State:
    """The state that :func:`state_files` are of, its tensors on the CPU.

    Raises:
        WorkerError: ``SAE_INVALID`` when it is damaged or of a later version.
    """
    try:
        numbers = json.loads((folder / STATE_FILE).read_text())
        if numbers.pop("format") != FORMAT:
            raise invalid_state(folder, "a later version of sae-lens-ts wrote it")
        return {**numbers, **load_file(folder / TENSORS_FILE)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise invalid_state(folder, str(error)) from error


def invalid_state(folder: Path, why: str) -> WorkerError:
    """What is said of a state that cannot be gone on from."""
    return WorkerError(
        "SAE_INVALID",
        f"Cannot go on from {str(folder)!r}: {why}",
        hint="Go on from another checkpoint: --from names one.",
    )
