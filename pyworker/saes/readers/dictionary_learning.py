"""Folders of dictionary_learning: ``config.json`` and the weights of one of its dictionaries."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyworker.saes.readers.stored import (
    StoredSAE,
    described,
    read_json,
    read_safetensors,
    refused,
    renamed,
)
from pyworker.saes.readers.torch_file import read_torch

CONFIG_FILE = "config.json"
SAFE_WEIGHTS_FILE = "ae.safetensors"
WEIGHTS_FILE = "ae.pt"

LINEAR = {"encoder.weight.T": "W_enc", "decoder.weight.T": "W_dec"}
MATRICES = {"W_enc": "W_enc", "W_dec": "W_dec", "b_enc": "b_enc", "b_dec": "b_dec"}
DICTIONARIES: dict[str, tuple[str, bool, dict[str, str]]] = {
    "AutoEncoder": ("standard", True, {**LINEAR, "encoder.bias": "b_enc", "bias": "b_dec"}),
    "AutoEncoderNew": ("standard", False, {**LINEAR, "encoder.bias": "b_enc", "decoder.bias": "b_dec"}),
    "GatedAutoEncoder": (
        "gated",
        True,
        {**LINEAR, "gate_bias": "b_gate", "mag_bias": "b_mag", "r_mag": "r_mag", "decoder_bias": "b_dec"},
    ),
    "AutoEncoderTopK": ("topk", True, {**LINEAR, "encoder.bias": "b_enc", "b_dec": "b_dec"}),
    "BatchTopKSAE": (
        "jumprelu",
        True,
        {**LINEAR, "encoder.bias": "b_enc", "b_dec": "b_dec", "threshold": "threshold"},
    ),
    "MatryoshkaBatchTopKSAE": ("jumprelu", True, {**MATRICES, "threshold": "threshold"}),
    "JumpReluAutoEncoder": ("jumprelu", False, {**MATRICES, "threshold": "threshold"}),
}
"""Its classes: our architecture, whether the decoder's bias is taken from the input, and the tensors."""


def read(folder: Path) -> StoredSAE:
    """The dictionary with the weights as they are stored. (For an ``AutoEncoder`` the library's
    ``from_pretrained`` also folds the decoder norms: the same reconstructions, latents in other units.)

    Raises:
        WorkerError: SAE_INVALID, for a class that is not one of :data:`DICTIONARIES`; PICKLE_REFUSED.
    """
    config = read_json(folder / CONFIG_FILE)
    trainer = config.get("trainer")
    found = trainer.get("dict_class") if isinstance(trainer, dict) else None
    if not isinstance(found, str) or found not in DICTIONARIES:
        raise refused(
            folder / CONFIG_FILE,
            f"trainer.dict_class is {found!r}, which this version cannot load",
            hint=f"It loads {', '.join(DICTIONARIES)}.",
        )
    architecture, apply_b_dec, names = DICTIONARIES[found]
    safe = folder / SAFE_WEIGHTS_FILE
    path = safe if safe.exists() else folder / WEIGHTS_FILE
    weights = read_safetensors(path) if path == safe else read_torch(path)
    state = renamed(path, weights, names)
    words: dict[str, Any] = {"apply_b_dec_to_input": apply_b_dec}
    if architecture == "topk":
        words |= {"k": _k(folder, trainer, weights), "rescale_acts_by_decoder_norm": False}
    if architecture == "jumprelu" and state["threshold"].ndim == 0:
        state["threshold"] = torch.full_like(state["b_enc"], state["threshold"].item())
    return StoredSAE(
        described(path, architecture, state, **words, metadata=_metadata(config, trainer)), state
    )


def _k(folder: Path, trainer: dict[str, Any], weights: dict[str, Tensor]) -> int:
    said, stored = trainer.get("k"), weights.get("k")
    k = said if stored is None else int(stored.item())
    if not isinstance(k, int) or (said is not None and said != k):
        raise refused(folder / CONFIG_FILE, f"trainer.k is {said!r} and the weights say {k!r}")
    return k


def _metadata(config: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
    buffer = config.get("buffer")
    place = str(trainer.get("submodule_name") or f"resid_post_layer_{trainer.get('layer')}")
    layer = re.fullmatch(r"resid_post_layer_(\d+)", place)
    found = {
        "model_name": trainer.get("lm_name"),
        "hook_name": f"blocks.{layer[1]}.hook_resid_post" if layer else None,
        "hf_hook_name": None if layer else place,
        "context_size": buffer.get("ctx_len") if isinstance(buffer, dict) else None,
    }
    return {name: value for name, value in found.items() if value is not None}
