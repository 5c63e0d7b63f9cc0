"""Writing an SAE as SAELens does: ``cfg.json``, ``sae_weights.safetensors``, ``sparsity.safetensors``
(reference §4.1)."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from pyworker.files import Files, write_files
from pyworker.saes.base import SAE

CFG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
SPARSITY_FILE = "sparsity.safetensors"

SAE_LENS_FORMAT = "6.54.12"
"""The version of SAELens whose file format this is. Without one SAELens takes the file for a much older
one."""


def inference_files(sae: SAE, metadata: dict[str, Any], log_sparsity_F: Tensor | None = None) -> Files:
    """The files of a finished SAE. Its tensors are in them, not copies.

    Args:
        sae: in inference form (:func:`pyworker.saes.inference.to_inference`).
        metadata: recorded under ``metadata`` in ``cfg.json``.
        log_sparsity_F: log10 of each latent's firing frequency.
    """
    versions = {"sae_lens_version": SAE_LENS_FORMAT, "sae_lens_training_version": SAE_LENS_FORMAT}
    content = {**sae.cfg.to_json(), "metadata": {**versions, **metadata}}
    files: Files = {CFG_FILE: json.dumps(content, allow_nan=False), WEIGHTS_FILE: dict(sae.state_dict())}
    if log_sparsity_F is not None:
        files[SPARSITY_FILE] = {"sparsity": log_sparsity_F.float()}
    return files


def save_inference(
    sae: SAE, folder: Path, metadata: dict[str, Any], log_sparsity_F: Tensor | None = None
) -> None:
    """Write :func:`inference_files` and bring them to the disk. Atomicity is the caller's."""
    write_files(inference_files(sae, metadata, log_sparsity_F), folder)
