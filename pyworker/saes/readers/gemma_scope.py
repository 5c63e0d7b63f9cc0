"""Gemma Scope: JumpReLU SAEs as ``params.npz``, and Gemma Scope 2 as ``config.json`` and ``params.safetensors``.

Both compare pre-activations of the raw input: the decoder's bias is not taken from it (Lieberum et al. 2024).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyworker.saes.readers.archive import check_unpacked_size
from pyworker.saes.readers.stored import StoredSAE, described, read_json, read_safetensors, refused, renamed

NPZ_FILE = "params.npz"
CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "params.safetensors"
NPZ_NAMES = {name: name for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
SAFETENSORS_NAMES = {name.lower(): name for name in NPZ_NAMES}
EMBEDDING = "embedding"
"""The folder of the SAEs on the embedding, which were trained on rows divided by the root of their width."""


def read_npz(folder: Path) -> StoredSAE:
    """The first Gemma Scope. The file says nothing of the model or the hook; a release of the registry does.

    Raises:
        WorkerError: SAE_INVALID, for anything but arrays of numbers: arrays of objects are pickles.
    """
    path = folder / NPZ_FILE
    state = renamed(path, _arrays(path), NPZ_NAMES)
    if EMBEDDING in folder.parts:
        width = state["W_enc"].shape[0] ** 0.5
        state["W_enc"], state["W_dec"] = state["W_enc"] / width, state["W_dec"] * width
    return StoredSAE(described(path, "jumprelu", state, apply_b_dec_to_input=False, metadata={}), state)


def read_safetensors_folder(folder: Path) -> StoredSAE:
    """Gemma Scope 2.

    Raises:
        WorkerError: SAE_INVALID, for its transcoders and crosscoders.
    """
    config, path = read_json(folder / CONFIG_FILE), folder / SAFETENSORS_FILE
    weights = read_safetensors(path)
    place, out = config.get("hf_hook_point_in"), config.get("hf_hook_point_out")
    architecture = config.get("architecture")
    if architecture != "jump_relu":
        raise refused(folder / CONFIG_FILE, f"architecture {architecture!r}, expected 'jump_relu'")
    if (out is not None and out != place) or "affine_skip_connection" in weights:
        raise refused(folder / CONFIG_FILE, "it is a transcoder, which this version cannot load")
    state = renamed(path, weights, SAFETENSORS_NAMES)
    metadata = {"model_name": config.get("model_name"), "hf_hook_name": place}
    known = {name: value for name, value in metadata.items() if value is not None}
    return StoredSAE(described(path, "jumprelu", state, apply_b_dec_to_input=False, metadata=known), state)


def _arrays(path: Path) -> dict[str, Tensor]:
    try:
        check_unpacked_size(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in NPZ_NAMES}
    except Exception as error:  # whatever a hostile file makes of the reader
        raise refused(path, f"it is not an archive of arrays of numbers ({error})") from error
    wrong = [name for name, array in arrays.items() if array.dtype.kind != "f"]
    if wrong:
        raise refused(path, f"{', '.join(wrong)} is not of floats")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
