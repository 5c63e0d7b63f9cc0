"""An SAE as its folder holds it, and what all readers do: JSON with limits, weights that cannot run code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.saes.config import TORCH_DTYPES

LARGEST_JSON_BYTES = 1 << 20


@dataclass
class StoredSAE:
    """What a reader makes of a folder, in the words and shapes of SAELens 6.

    ``scaling_factor`` and ``whitening`` (``mean``, ``matrix``, ``inverse_matrix``) are what was done to the
    activations before the SAE saw them; the weights do not have it yet. With ``unit_decoder`` the norms of the
    decoder rows move into the encoder after that.
    """

    cfg: dict[str, Any]
    state: dict[str, Tensor]
    log_sparsity_F: Tensor | None = None
    scaling_factor: float | None = None
    whitening: dict[str, Tensor] | None = None
    unit_decoder: bool = False


def refused(path: Path, reason: str, hint: str | None = None) -> WorkerError:
    """The one error of reading: ``SAE_INVALID``, with the file."""
    return WorkerError("SAE_INVALID", f"reading {path}: {reason}", hint=hint)


def read_json(path: Path, hint: str | None = None) -> dict[str, Any]:
    """A JSON object of a few KB.

    Raises:
        WorkerError: SAE_INVALID, when there is none, it is too large or is not an object.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON_BYTES:
            raise refused(path, f"it has {size} bytes, at most {LARGEST_JSON_BYTES} are read")
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise refused(path, str(error), hint) from error
    if not isinstance(value, dict):
        raise refused(path, f"expected a JSON object, got {type(value).__name__}")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name.

    Raises:
        WorkerError: SAE_INVALID, when it is not a whole safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise refused(path, str(error)) from error


def renamed(path: Path, state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """The tensors of ``names`` (theirs to ours) under our names; ``.T`` behind a name of theirs transposes.

    Raises:
        WorkerError: SAE_INVALID, when one is missing.
    """
    missing = [name for name in names if name.removesuffix(".T") not in state]
    if missing:
        raise refused(path, f"it has no {', '.join(missing)}; it has {', '.join(sorted(state))}")
    return {
        ours: state[theirs.removesuffix(".T")].T if theirs.endswith(".T") else state[theirs]
        for theirs, ours in names.items()
    }


def described(path: Path, architecture: str, state: dict[str, Tensor], **words: Any) -> dict[str, Any]:
    """``cfg.json`` of version 6 for these tensors: sizes and dtype are those of ``W_enc``.

    Raises:
        WorkerError: SAE_INVALID, when ``W_enc`` is no matrix of a number type that SAEs have.
    """
    W_enc_DF = state["W_enc"]
    names = {dtype: name for name, dtype in TORCH_DTYPES.items()}
    if W_enc_DF.ndim != 2 or W_enc_DF.dtype not in names:
        raise refused(path, f"W_enc is {W_enc_DF.dtype} {list(W_enc_DF.shape)}, expected a matrix of floats")
    return {
        "architecture": architecture,
        "d_in": W_enc_DF.shape[0],
        "d_sae": W_enc_DF.shape[1],
        "dtype": names[W_enc_DF.dtype],
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        **words,
    }
