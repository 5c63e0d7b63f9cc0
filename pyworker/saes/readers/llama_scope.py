"""Llama Scope (He et al. 2024): ``hyperparams.json`` and ``checkpoints/final.safetensors``."""

from pathlib import Path

import torch

from pyworker.saes.readers.stored import StoredSAE, described, read_json, read_safetensors, refused, renamed

CONFIG_FILE = "hyperparams.json"
WEIGHTS_FILE = "checkpoints/final.safetensors"
NAMES = {
    "encoder.weight.T": "W_enc",
    "encoder.bias": "b_enc",
    "decoder.weight.T": "W_dec",
    "decoder.bias": "b_dec",
}


def read(folder: Path) -> StoredSAE:
    """A JumpReLU SAE of activations scaled to the mean norm √d_in. Its one threshold is of raw activations, as
    SAELens reads it: it is scaled too.

    Raises:
        WorkerError: SAE_INVALID, for another activation function, or without the norm or the threshold.
    """
    config, path = read_json(folder / CONFIG_FILE), folder / WEIGHTS_FILE
    norms, threshold = config.get("dataset_average_activation_norm"), config.get("jump_relu_threshold")
    norm = norms.get("in") if isinstance(norms, dict) else None
    if not isinstance(norm, int | float) or norm <= 0 or not isinstance(threshold, int | float):
        raise refused(
            folder / CONFIG_FILE, f"average norm {norm!r} and threshold {threshold!r}, expected numbers"
        )
    if config.get("act_fn", "jumprelu") != "jumprelu":
        raise refused(folder / CONFIG_FILE, f"activation {config['act_fn']!r}, expected 'jumprelu'")
    state = renamed(path, read_safetensors(path), NAMES)
    factor = state["W_enc"].shape[0] ** 0.5 / norm
    state["threshold"] = torch.full_like(state["b_enc"], threshold * factor)
    metadata = {"hook_name": config["hook_point_in"]} if "hook_point_in" in config else {}
    cfg = described(path, "jumprelu", state, apply_b_dec_to_input=False, metadata=metadata)
    return StoredSAE(cfg, state, scaling_factor=factor)
