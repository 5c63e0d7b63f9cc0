"""The SAEs this worker holds for a notebook: load, encode, decode.

Legend: N rows, D d_in, F d_sae.
"""

from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.runners.device import check_device
from pyworker.saes import SAE, load_sae

_numbers = count(1)
_held: dict[int, SAE] = {}


def load(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Operation ``load_sae``: ``{path, device, dtype}`` to a handle, its cfg.json, and log10 sparsity as an array.

    Raises:
        WorkerError: DEVICE_UNAVAILABLE, SAE_INVALID.
    """
    check_device("device", params["device"])
    sae, cfg, log_sparsity_F = load_sae(Path(params["path"]), params["device"], params["dtype"])
    handle = next(_numbers)
    _held[handle] = sae
    if log_sparsity_F is not None:
        session.send_array("log_sparsity", log_sparsity_F)
    return {"handle": handle, "cfg": cfg, "d_in": sae.cfg.d_in, "d_sae": sae.cfg.d_sae}


def unload(params: dict[str, Any], session: Any) -> None:
    """Operation ``unload_sae``."""
    _held.pop(params["handle"], None)


@torch.no_grad()
def encode(params: dict[str, Any], session: Any) -> None:
    """Operation ``encode``: x_ND to the activations of the latents a_NF. Any number of leading dimensions."""
    sae = _sae(params)
    session.send_array("activations", sae.encode(_input(sae, session, sae.cfg.d_in, "d_in")).float())


@torch.no_grad()
def decode(params: dict[str, Any], session: Any) -> None:
    """Operation ``decode``: a_NF to the reconstruction x_ND. Any number of leading dimensions."""
    sae = _sae(params)
    session.send_array("reconstruction", sae.decode(_input(sae, session, sae.cfg.d_sae, "d_sae")).float())


def _sae(params: dict[str, Any]) -> SAE:
    sae = _held.get(params["handle"])
    if sae is None:
        raise WorkerError(
            "SAE_INVALID", "This SAE was closed, or belongs to a worker that is gone", "Load it again."
        )
    return sae


def _input(sae: SAE, session: Any, width: int, name: str) -> Tensor:
    # Copied: the frame's memory is read-only, and torch has no read-only tensors.
    values = torch.from_numpy(session.arrays[0].copy())
    if values.ndim == 0 or values.shape[-1] != width:
        raise WorkerError(
            "HOOK_SHAPE",
            f"The last dimension must be {name} = {width}; the array has the shape {list(values.shape)}",
        )
    return values.to(sae.cfg.device, sae.cfg.torch_dtype)
