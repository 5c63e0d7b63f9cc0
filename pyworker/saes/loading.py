"""Reading an SAE folder written by us, by SAELens 6 or by SAELens 5, as an inference SAE on raw
activations."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.saes.base import SAE
from pyworker.saes.config import TORCH_DTYPES, SAEConfig
from pyworker.saes.legacy import from_before_v6, is_before_v6
from pyworker.saes.registry import inference_class
from pyworker.saes.saving import CFG_FILE, SPARSITY_FILE, WEIGHTS_FILE

SCALER_FILE = "activation_scaler.json"
WHITENING_FILE = "activation_whitening.safetensors"
OPTIONS: dict[str, tuple[str, ...]] = {
    "topk": ("k", "rescale_acts_by_decoder_norm"),
    "standard_tanh-relu": ("activation_fn", "activation_fn_kwargs"),
    "standard_gelu": ("activation_fn", "activation_fn_kwargs"),
}


def load_sae(
    folder: Path, device: str = "cpu", dtype: str | None = None
) -> tuple[SAE, dict[str, Any], Tensor | None]:
    """Load an SAE.

    Checkpoints of a training run of SAELens 6 are not folded yet: the scaling recorded beside them is
    folded here. Anything else that names a scaling estimated from data has been folded when it was saved
    (golden/README.md, trap 13), so the name is dropped.

    Returns:
        the SAE, the content of its ``cfg.json`` in the words of version 6, and log10 of the firing
        frequency of each latent where the folder has it.

    Raises:
        WorkerError: SAE_INVALID, when the folder is not a whole SAE of an architecture this version has.
    """
    cfg_dict, state = read_cfg(folder), _read_tensors(folder / WEIGHTS_FILE)
    cfg = _config(folder, cfg_dict, device, dtype)
    sae = inference_class(cfg.architecture)(cfg)
    log_threshold = state.pop("log_threshold", None)
    if log_threshold is not None:
        state["threshold"] = log_threshold.exp()
    factor_F = state.pop("finetuning_scaling_factor", None)
    try:
        sae.load_state_dict(state)
    except RuntimeError as error:
        raise WorkerError("SAE_INVALID", f"loading the weights in {folder}: {error}") from error
    if factor_F is not None:
        sae.fold_latent_factors(factor_F.to(sae.W_dec))
    _fold_scaling_of_checkpoint(sae, folder)
    sae.cfg.normalize_activations = _run_time_only(sae.cfg.normalize_activations)
    sparsity_path = folder / SPARSITY_FILE
    log_sparsity_F = _read_tensors(sparsity_path).get("sparsity") if sparsity_path.exists() else None
    return sae.requires_grad_(False).eval(), cfg_dict, log_sparsity_F


def read_cfg(folder: Path) -> dict[str, Any]:
    """``cfg.json`` of a folder in the words of version 6.

    Raises:
        WorkerError: SAE_INVALID, when there is none or it is not a JSON object.
    """
    path = folder / CFG_FILE
    try:
        cfg = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WorkerError(
            "SAE_INVALID",
            f"reading {path}: {error}",
            hint="Give the folder that holds cfg.json and the weights.",
        ) from error
    if not isinstance(cfg, dict):
        raise WorkerError("SAE_INVALID", f"reading {path}: expected a JSON object, got {type(cfg).__name__}")
    return from_before_v6(cfg) if is_before_v6(cfg) else cfg


def _config(folder: Path, cfg: dict[str, Any], device: str, dtype: str | None) -> SAEConfig:
    missing = [key for key in ("architecture", "d_in", "d_sae") if key not in cfg]
    dtype = dtype or cfg.get("dtype", "float32")
    if missing or dtype not in TORCH_DTYPES:
        problem = f"{', '.join(missing)} missing" if missing else f"dtype {dtype!r} is not known"
        raise WorkerError("SAE_INVALID", f"reading {folder / CFG_FILE}: {problem}")
    architecture = cfg["architecture"]
    options = {key: cfg[key] for key in OPTIONS.get(architecture, ()) if key in cfg}
    if architecture == "topk":
        options.setdefault("rescale_acts_by_decoder_norm", False)
    return SAEConfig(
        architecture=architecture,
        d_in=cfg["d_in"],
        d_sae=cfg["d_sae"],
        dtype=dtype,
        device=device,
        apply_b_dec_to_input=cfg.get("apply_b_dec_to_input", True),
        normalize_activations=cfg.get("normalize_activations", "none"),
        reshape_activations=cfg.get("reshape_activations", "none"),
        options=options,
        metadata=cfg.get("metadata") or {},
    )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WorkerError("SAE_INVALID", f"reading {path}: {error}") from error


def _fold_scaling_of_checkpoint(sae: SAE, folder: Path) -> None:
    scaler_path, whitening_path = folder / SCALER_FILE, folder / WHITENING_FILE
    factor = json.loads(scaler_path.read_text()).get("scaling_factor") if scaler_path.exists() else None
    if factor is not None:
        sae.fold_scaling_factor(factor)
    if whitening_path.exists():
        statistics = _read_tensors(whitening_path)
        sae.fold_whitening(statistics["mean"], statistics["matrix"], statistics["inverse_matrix"])


def _run_time_only(kind: str) -> str:
    return "none" if kind in ("expected_average_only_in", "covariance_whitening") else kind
