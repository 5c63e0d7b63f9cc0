"""From a folder to an inference SAE on raw activations, whichever library wrote it."""

from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.protocol.sae_config import NormalizeActivations
from pyworker.saes.base import SAE
from pyworker.saes.config import TORCH_DTYPES, SAEConfig
from pyworker.saes.readers import StoredSAE, read_sae
from pyworker.saes.readers.weights import weight_problem
from pyworker.saes.registry import inference_class

SCALED = "expected_average_only_in"
OTHER_COPY = "fetch or write it again: its files must be those of one SAE"
OPTIONS: dict[str, tuple[str, ...]] = {
    "topk": ("k", "rescale_acts_by_decoder_norm"),
    "standard_tanh-relu": ("activation_fn", "activation_fn_kwargs"),
    "standard_gelu": ("activation_fn", "activation_fn_kwargs"),
}


def load_sae(
    folder: Path,
    device: str = "cpu",
    dtype: str | None = None,
    overrides: dict[str, Any] | None = None,
    norm_scaling_factor: float | None = None,
) -> tuple[SAE, dict[str, Any], Tensor | None]:
    """Load an SAE.

    Scaling that was done to activations before the SAE saw them is folded: what a training checkpoint
    records, or what the registry knows of a published SAE whose configuration says that it was scaled. Without
    either, what names a scaling estimated from data has been folded when it was saved (golden/README.md, trap
    13), so the name is dropped.

    Args:
        overrides: fields of ``cfg.json`` that the registry knows better than the file.
        norm_scaling_factor: of a published SAE, from the registry.

    Returns:
        the SAE, the content of its ``cfg.json`` in the words of version 6, and log10 of the firing
        frequency of each latent where the folder has it.

    Raises:
        WorkerError: SAE_INVALID, when the folder is not a whole SAE of an architecture this version has.
    """
    stored = read_sae(folder)
    metadata = {**(stored.cfg.get("metadata") or {}), **(overrides or {}).get("metadata", {})}
    stored.cfg.update({**(overrides or {}), "metadata": metadata})
    if norm_scaling_factor is not None and stored.cfg.get("normalize_activations") == SCALED:
        stored.scaling_factor = norm_scaling_factor
    cfg = _config(folder, stored.cfg, device, dtype)
    new_sae = inference_class(cfg.architecture)
    _check_sizes(folder, stored, cfg)
    sae = new_sae(cfg)
    factor_F = stored.state.pop("finetuning_scaling_factor", None)
    try:
        sae.load_state_dict(stored.state)
    except RuntimeError as error:
        raise WorkerError(
            "SAE_INVALID", f"loading the weights in {folder}: {error}", hint=OTHER_COPY
        ) from error
    if factor_F is not None:
        sae.fold_latent_factors(factor_F.to(sae.W_dec))
    _fold_scaling(sae, stored)
    problem = weight_problem(dict(sae.named_parameters()))
    if problem is not None:
        raise WorkerError(
            "SAE_INVALID",
            f"folding the scaling of the activations in {folder}: {problem}",
            hint="its scale is beyond its dtype: load it with dtype float32",
        )
    sae.cfg.normalize_activations = _run_time_only(sae.cfg.normalize_activations)
    stored.cfg["normalize_activations"] = sae.cfg.normalize_activations
    return sae.requires_grad_(False).eval(), stored.cfg, stored.log_sparsity_F


def _config(folder: Path, cfg: dict[str, Any], device: str, dtype: str | None) -> SAEConfig:
    missing = [key for key in ("architecture", "d_in", "d_sae") if key not in cfg]
    dtype = dtype or cfg.get("dtype", "float32")
    if missing or not isinstance(dtype, str) or dtype not in TORCH_DTYPES:
        problem = f"{', '.join(missing)} missing" if missing else f"dtype {dtype!r} is not known"
        raise WorkerError("SAE_INVALID", f"reading the configuration in {folder}: {problem}", hint=OTHER_COPY)
    known = {
        "normalize_activations": get_args(NormalizeActivations),
        "reshape_activations": ("none", "hook_z"),
    }
    for option, values in known.items():
        if cfg.get(option, "none") not in values:
            raise WorkerError(
                "SAE_INVALID",
                f"reading the configuration in {folder}: {option} is {cfg[option]!r}",
                hint=f"this version knows {', '.join(values)}",
            )
    architecture = cfg["architecture"]
    options = {key: cfg[key] for key in OPTIONS.get(architecture, ()) if key in cfg}
    if architecture == "topk":
        options.setdefault("rescale_acts_by_decoder_norm", False)
        k = options.get("k")
        if not isinstance(k, int) or not 1 <= k <= cfg["d_sae"]:
            raise WorkerError(
                "SAE_INVALID",
                f"reading the configuration in {folder}: k is {k!r} of {cfg['d_sae']} latents",
                hint=OTHER_COPY,
            )
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


def _check_sizes(folder: Path, stored: StoredSAE, cfg: SAEConfig) -> None:
    """What a file says of sizes is believed only as far as its tensors go: they are there."""
    shapes = {name: list(stored.state[name].shape) for name in ("W_enc", "W_dec") if name in stored.state}
    expected = {"W_enc": [cfg.d_in, cfg.d_sae], "W_dec": [cfg.d_sae, cfg.d_in]}
    if stored.whitening is not None:
        square = {"matrix": [cfg.d_in, cfg.d_in], "inverse_matrix": [cfg.d_in, cfg.d_in]}
        shapes |= {name: list(tensor.shape) for name, tensor in stored.whitening.items()}
        expected |= {"mean": [cfg.d_in], **square}
    if stored.log_sparsity_F is not None:
        shapes["sparsity"], expected["sparsity"] = list(stored.log_sparsity_F.shape), [cfg.d_sae]
    wrong = {name: shapes.get(name) for name in expected if shapes.get(name) != expected[name]}
    if wrong:
        found = ", ".join(
            f"{name} is missing" if shape is None else f"{name} is {shape} instead of {expected[name]}"
            for name, shape in wrong.items()
        )
        raise WorkerError("SAE_INVALID", f"loading the weights in {folder}: {found}", hint=OTHER_COPY)


def _fold_scaling(sae: SAE, stored: StoredSAE) -> None:
    if stored.scaling_factor is not None:
        sae.fold_scaling_factor(stored.scaling_factor)
    if stored.whitening is not None:
        mean, matrix, inverse = (stored.whitening[name] for name in ("mean", "matrix", "inverse_matrix"))
        sae.fold_whitening(mean, matrix, inverse)
    if stored.unit_decoder:
        sae.fold_W_dec_norm()


def _run_time_only(kind: str) -> str:
    return "none" if kind in (SCALED, "covariance_whitening") else kind
