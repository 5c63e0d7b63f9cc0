"""Folders of EleutherAI's sparsify: ``cfg.json`` and ``sae.safetensors``, one folder a hook point."""

import re
from pathlib import Path
from typing import Any

from pyworker.saes.readers.stored import StoredSAE, described, read_json, read_safetensors, refused, renamed

CFG_FILE = "cfg.json"
WEIGHTS_FILE = "sae.safetensors"
NAMES = {"encoder.weight.T": "W_enc", "encoder.bias": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec"}
NOT_AN_SAE = {
    "transcode": "it is a transcoder",
    "skip_connection": "it has a skip connection",
    "signed": "it keeps negative latents (signed)",
}


def read(folder: Path) -> StoredSAE:
    """A TopK SAE. The decoder's bias is taken from the input as the library itself does, also with
    ``normalize_decoder``, where SAELens' loader does not.

    Raises:
        WorkerError: SAE_INVALID, for a transcoder, a skip connection or another activation than top-k.
    """
    cfg, path = read_json(folder / CFG_FILE), folder / WEIGHTS_FILE
    for option, what in NOT_AN_SAE.items():
        if cfg.get(option):
            raise refused(folder / CFG_FILE, f"{what}, which this version cannot load")
    activation, k = cfg.get("activation", "topk"), cfg.get("k")
    if activation != "topk" or not isinstance(k, int):
        raise refused(folder / CFG_FILE, f"activation {activation!r} with k {k!r}; only topk can be loaded")
    state = renamed(path, read_safetensors(path), NAMES)
    words = {"k": k, "rescale_acts_by_decoder_norm": False, "metadata": _metadata(folder.name)}
    return StoredSAE(described(path, "topk", state, **words), state)


def _metadata(hookpoint: str) -> dict[str, Any]:
    """The library names the folder after the module; only outputs of whole layers have one name everywhere."""
    if hookpoint == "embed_tokens":
        return {"hook_name": "hook_embed"}
    layer = re.fullmatch(r"(?:model\.)?layers\.(\d+)", hookpoint)
    return {"hook_name": f"blocks.{layer[1]}.hook_resid_post"} if layer else {"hf_hook_name": hookpoint}
