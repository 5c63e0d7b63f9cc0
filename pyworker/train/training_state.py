"""What a run needs, beside its configuration, to go on as if it had never stopped: tensors and numbers, never a pickle.

Everything that changes while training is in it, and the activations that lie in the mixing buffer too: computing them
again would need every batch of the language model that one of them came from.
"""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pyworker.errors import WorkerError

STATE_FILE = "training_state.json"
TENSORS_FILE = "training_state.safetensors"
FORMAT = 1
"""Grows when a reader of today could misread a state of tomorrow."""
READABLE = 0o644

State = dict[str, Any]
"""Dotted names → tensors, and what JSON holds exactly: integers, floats, booleans, null, names."""


def under(prefix: str, state: State) -> State:
    """The same entries as ``<prefix>.<name>``."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def part_of(state: State, prefix: str) -> State:
    """The way back of :func:`under`."""
    return {name[len(prefix) + 1 :]: value for name, value in state.items() if name.startswith(f"{prefix}.")}


def write_state(state: State, folder: Path) -> None:
    """Write both files and bring them to the disk. Atomicity is the caller's: the folder is a staging folder."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in state.items() if isinstance(value, Tensor)
    }
    numbers = {name: value for name, value in state.items() if name not in tensors}
    save_file(tensors, folder / TENSORS_FILE)
    (folder / STATE_FILE).write_text(json.dumps({"format": FORMAT, **numbers}, allow_nan=False))
    for path in (folder / TENSORS_FILE, folder / STATE_FILE):
        path.chmod(READABLE)  # safetensors makes its files readable for their owner only
        with path.open("rb") as file:
            os.fsync(file.fileno())


def read_state(folder: Path) -> State:
    """The state that :func:`write_state` wrote, its tensors on the CPU.

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
