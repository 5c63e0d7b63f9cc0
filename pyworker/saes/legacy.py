"""Reading ``cfg.json`` as older versions of SAELens wrote it (reference §4.1;
golden/v5/legacy_load_654.json)."""

from typing import Any

from pyworker.saes.activations import topk_activation_k

RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}

METADATA_KEYS = (
    "sae_lens_version",
    "sae_lens_training_version",
    "model_name",
    "model_class_name",
    "hook_name",
    "hook_layer",
    "hook_head_index",
    "dataset_path",
    "dataset_trust_remote_code",
    "context_size",
    "seqpos_slice",
    "prepend_bos",
    "model_from_pretrained_kwargs",
    "exclude_special_tokens",
    "neuronpedia_id",
)


def is_before_v6(cfg: dict[str, Any]) -> bool:
    """Versions before 6 kept everything in one flat dictionary, without ``metadata.sae_lens_version``."""
    version = (cfg.get("metadata") or {}).get("sae_lens_version") or cfg.get("sae_lens_version")
    return version is None or int(str(version).split(".")[0]) < 6


def from_before_v6(cfg: dict[str, Any]) -> dict[str, Any]:
    """The same SAE in the words of version 6, activation functions kept."""
    cfg = {RENAMED.get(key, key): value for key, value in cfg.items()}
    kwargs = cfg.get("activation_fn_kwargs") or {}
    activation = cfg.get("activation_fn") or "relu"
    architecture = cfg.get("architecture") or "standard"
    options: dict[str, Any] = {}
    if architecture == "topk" or activation == "topk":
        # A top-k activation keeps what a TopK SAE keeps, whatever the file calls the architecture.
        architecture, options = "topk", {"k": cfg.get("k") or topk_activation_k(kwargs)}
    elif architecture == "standard" and activation != "relu":
        architecture = f"standard_{activation}"
        options = {"activation_fn": activation, "activation_fn_kwargs": kwargs}
    normalize = cfg.get("normalize_activations") or "none"
    return {
        **{key: cfg[key] for key in ("d_in", "d_sae") if key in cfg},
        "architecture": architecture,
        "dtype": str(cfg.get("dtype", "float32")).removeprefix("torch."),
        "apply_b_dec_to_input": cfg.get("apply_b_dec_to_input", True),
        "normalize_activations": "expected_average_only_in" if normalize is True else normalize,
        "reshape_activations": "hook_z" if "hook_z" in cfg.get("hook_name", "") else "none",
        **options,
        "metadata": {key: cfg[key] for key in METADATA_KEYS if key in cfg},
    }
