"""Activation functions of the standard architecture, by the names users write (reference §1.6)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.kernels import top_k

DEFAULT_TOPK_ACTIVATION_K = 100


def tanh_relu(z: Tensor) -> Tensor:
    """``tanh(relu(z))``: activations in [0, 1)."""
    return torch.tanh(torch.relu(z))


def topk_activation_k(kwargs: dict[str, Any]) -> int:
    """``k`` of ``activation_fn="topk"``; SAELens v5 took 100 when it was not given."""
    return int(kwargs.get("k", DEFAULT_TOPK_ACTIVATION_K))


def activation_function(name: str, kwargs: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """The function called ``name``.

    Raises:
        WorkerError: CONFIG_INVALID, for a name or a keyword argument that does not exist.
    """
    plain = {"relu": torch.relu, "tanh-relu": tanh_relu, "gelu": torch.nn.functional.gelu}
    allowed = {"k"} if name == "topk" else set()
    if (name not in plain and name != "topk") or set(kwargs) - allowed:
        raise WorkerError(
            "CONFIG_INVALID",
            f"activation_fn {name!r} with activation_fn_kwargs {kwargs}: no such activation function",
            hint="Choose relu, tanh-relu, gelu, or topk with activation_fn_kwargs {k: ...}.",
        )
    return partial(top_k, k=topk_activation_k(kwargs)) if name == "topk" else plain[name]
