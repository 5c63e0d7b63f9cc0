"""Folders of SAELens: version 6 and 5, ours, and checkpoints of its training (reference §4.1, §4.2)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyworker.saes.base import NORM_FLOOR
from pyworker.saes.legacy import from_before_v6, is_before_v6
from pyworker.saes.readers.stored import StoredSAE, read_json, read_safetensors, refused
from pyworker.saes.saving import CFG_FILE, SPARSITY_FILE, WEIGHTS_FILE

SCALER_FILE = "activation_scaler.json"
WHITENING_FILE = "activation_whitening.safetensors"
BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
"""Trained with a budget for the whole batch, used with the threshold that training found: JumpReLU."""


KINDS: dict[str, type] = {
    "architecture": str,
    "activation_fn": str,
    "activation_fn_str": str,
    "activation_fn_kwargs": dict,
    "apply_b_dec_to_input": bool,
    "d_in": int,
    "d_sae": int,
    "hook_name": str,
    "hook_point": str,
    "metadata": dict,
    "rescale_acts_by_decoder_norm": bool,
}
"""What the words of ``cfg.json`` are, where they are there."""


def read_cfg(folder: Path) -> dict[str, Any]:
    """``cfg.json`` of a folder in the words of version 6.

    Raises:
        WorkerError: SAE_INVALID, when there is none, it is not a JSON object, or a word of it is of another kind.
    """
    path = folder / CFG_FILE
    cfg = read_json(path, hint="Give the folder that holds cfg.json and the weights.")
    for name, kind in KINDS.items():
        value = cfg.get(name)
        if value is not None and type(value) is not kind:
            raise refused(path, f"{name} is {value!r}, expected {kind.__name__}")
    try:
        return from_before_v6(cfg) if is_before_v6(cfg) else cfg
    except (TypeError, ValueError) as error:
        raise refused(path, str(error)) from error


def read(folder: Path) -> StoredSAE:
    """Checkpoints are not folded yet: the scaling recorded beside them is part of what is stored."""
    cfg, state = read_cfg(folder), read_safetensors(folder / WEIGHTS_FILE)
    log_threshold = state.pop("log_threshold", None)
    if log_threshold is not None:
        state["threshold"] = log_threshold.exp()
    unit_decoder = False
    if cfg.get("architecture") in BATCH_TOPK:
        unit_decoder = bool(cfg.get("rescale_acts_by_decoder_norm"))
        cfg, state = _jumprelu_of_batch_topk(folder, cfg, state)
    scaler_path, whitening_path = folder / SCALER_FILE, folder / WHITENING_FILE
    sparsity_path = folder / SPARSITY_FILE
    return StoredSAE(
        cfg,
        state,
        read_safetensors(sparsity_path).get("sparsity") if sparsity_path.exists() else None,
        read_json(scaler_path).get("scaling_factor") if scaler_path.exists() else None,
        read_safetensors(whitening_path) if whitening_path.exists() else None,
        unit_decoder,
    )


def _jumprelu_of_batch_topk(
    folder: Path, cfg: dict[str, Any], state: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JumpReLU SAE with its threshold for every latent. With ``rescale_acts_by_decoder_norm`` that is one of
    pre-activation × decoder norm."""
    missing = [name for name in ("W_dec", "b_enc", "topk_threshold") if name not in state]
    if missing:
        raise refused(folder / WEIGHTS_FILE, f"it has no {', '.join(missing)}, as {cfg['architecture']} must")
    shapes = {name: list(state[name].shape) for name in ("W_dec", "b_enc", "topk_threshold")}
    if (
        state["W_dec"].ndim != 2
        or shapes["b_enc"] != shapes["W_dec"][:1]
        or state["topk_threshold"].numel() != 1
    ):
        raise refused(folder / WEIGHTS_FILE, f"its tensors have the shapes {shapes}")
    threshold_F = torch.full_like(state["b_enc"], state.pop("topk_threshold").item())
    if cfg.get("rescale_acts_by_decoder_norm"):
        threshold_F = threshold_F / state["W_dec"].norm(dim=1).clamp(min=NORM_FLOOR)
    metadata = {"training_architecture": cfg["architecture"], **(cfg.get("metadata") or {})}
    kept = ("d_in", "d_sae", "dtype", "apply_b_dec_to_input", "normalize_activations", "reshape_activations")
    inference = {name: cfg[name] for name in kept if name in cfg}
    return {**inference, "architecture": "jumprelu", "metadata": metadata}, {
        **state,
        "threshold": threshold_F,
    }
