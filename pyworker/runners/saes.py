"""The SAEs this worker holds for a notebook: load, encode, decode, export.

Legend: N rows, D d_in, F d_sae.
"""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.runners.device import check_device
from pyworker.saes import SAE, load_sae, save_inference

SHAREABLE = ("standard", "gated", "jumprelu", "topk")
"""What SAELens can load of what this version can."""


@dataclass
class Held:
    """An SAE as it was loaded."""

    sae: SAE
    cfg: dict[str, Any]
    log_sparsity_F: Tensor | None


_numbers = count(1)
_held: dict[int, Held] = {}


def load(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Operation ``load_sae``: ``{path, device, dtype, overrides, norm_scaling_factor}`` to a handle, its cfg.json, and
    log10 sparsity as an array. The last two are what the release of a published SAE knows better than its files.

    Raises:
        WorkerError: DEVICE_UNAVAILABLE, SAE_INVALID, PICKLE_REFUSED.
    """
    check_device("device", params["device"])
    sae, cfg, log_sparsity_F = load_sae(
        Path(params["path"]),
        params["device"],
        params["dtype"],
        params["overrides"],
        params["norm_scaling_factor"],
    )
    handle = next(_numbers)
    _held[handle] = Held(sae, cfg, log_sparsity_F)
    if log_sparsity_F is not None:
        session.send_array("log_sparsity", log_sparsity_F)
    return {"handle": handle, "cfg": cfg, "d_in": sae.cfg.d_in, "d_sae": sae.cfg.d_sae}


def unload(params: dict[str, Any], session: Any) -> None:
    """Operation ``unload_sae``."""
    _held.pop(params["handle"], None)


@torch.no_grad()
def encode(params: dict[str, Any], session: Any) -> None:
    """Operation ``encode``: x_ND to the activations of the latents a_NF. Any number of leading dimensions."""
    sae = _sae(params).sae
    session.send_array("activations", sae.encode(_input(sae, session, sae.cfg.d_in, "d_in")).float())


@torch.no_grad()
def decode(params: dict[str, Any], session: Any) -> None:
    """Operation ``decode``: a_NF to the reconstruction x_ND. Any number of leading dimensions."""
    sae = _sae(params).sae
    session.send_array("reconstruction", sae.decode(_input(sae, session, sae.cfg.d_sae, "d_sae")).float())


def export(params: dict[str, Any], session: Any) -> None:
    """Operation ``export_sae``: the SAE of ``handle``, or where that is null the one in ``path``, into ``folder`` as
    SAELens loads it: in inference form, scaling folded, in the words of version 6.

    Raises:
        WorkerError: SAE_INVALID, when SAELens has no such architecture.
    """
    if params["handle"] is None:
        path = Path(params["path"])
        held, name = Held(*load_sae(path)), f"the SAE in {path}"
    else:
        held, name = _sae(params), "the SAE"
    architecture = held.sae.cfg.architecture
    if architecture not in SHAREABLE:
        raise WorkerError(
            "SAE_INVALID",
            f"exporting {name}: SAELens cannot load its architecture, {architecture!r}",
            hint=f"It can load {', '.join(SHAREABLE)}.",
        )
    metadata = dict(held.cfg.get("metadata") or {})
    trained_with = metadata.pop("sae_lens_version", None)
    if trained_with is not None:
        metadata.setdefault("sae_lens_training_version", trained_with)
    save_inference(held.sae, Path(params["folder"]), metadata, held.log_sparsity_F)


def _sae(params: dict[str, Any]) -> Held:
    held = _held.get(params["handle"])
    if held is None:
        raise WorkerError(
            "SAE_INVALID", "This SAE was closed, or belongs to a worker that is gone", "Load it again."
        )
    return held


def _input(sae: SAE, session: Any, width: int, name: str) -> Tensor:
    # Copied: the frame's memory is read-only, and torch has no read-only tensors.
    values = torch.from_numpy(session.arrays[0].copy())
    if values.ndim == 0 or values.shape[-1] != width:
        raise WorkerError(
            "HOOK_SHAPE",
            f"The last dimension must be {name} = {width}; the array has the shape {list(values.shape)}",
            f"Give rows of {width} numbers.",
        )
    return values.to(sae.cfg.device, sae.cfg.torch_dtype)
