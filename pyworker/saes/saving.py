"""Writing an SAE as SAELens does: ``cfg.json``, ``sae_weights.safetensors``, ``sparsity.safetensors``
(reference §4.1)."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from pyworker.saes.base import SAE

CFG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"
SPARSITY_FILE = "sparsity.safetensors"

READABLE = 0o644

SAE_LENS_FORMAT = "6.54.12"
"""The version of SAELens whose file format this is. Without one SAELens takes the file for a much older
one."""


def save_inference(
    sae: SAE, folder: Path, metadata: dict[str, Any], log_sparsity_F: Tensor | None = None
) -> list[Path]:
    """Write the files and bring them to the disk. Atomicity is the caller's: the folder is a staging folder.

    Args:
        sae: in inference form (:func:`pyworker.saes.inference.to_inference`).
        metadata: recorded under ``metadata`` in ``cfg.json``.
        log_sparsity_F: log10 of each latent's firing frequency.

    Returns:
        the paths of the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"sae_lens_version": SAE_LENS_FORMAT, "sae_lens_training_version": SAE_LENS_FORMAT}
    content = {**sae.cfg.to_json(), "metadata": {**versions, **metadata}}
    (folder / CFG_FILE).write_text(json.dumps(content, allow_nan=False))
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in sae.state_dict().items()}, folder / WEIGHTS_FILE
    )
    written = [folder / CFG_FILE, folder / WEIGHTS_FILE]
    if log_sparsity_F is not None:
        save_file({"sparsity": log_sparsity_F.detach().float().cpu().contiguous()}, folder / SPARSITY_FILE)
        written.append(folder / SPARSITY_FILE)
    for path in written:
        path.chmod(READABLE)  # safetensors makes its files readable for their owner only
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return written
