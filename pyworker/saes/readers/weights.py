"""What every tensor of an SAE must be, whoever wrote it."""

import torch
from torch import Tensor

from pyworker.saes.config import TORCH_DTYPES

NUMBERS = frozenset(TORCH_DTYPES.values())


def weight_problem(tensors: dict[str, Tensor]) -> str | None:
    """Why these cannot be the weights of an SAE: numbers of another kind would be cut or scaled silently, and NaN or
    infinity would come out of every encoding. None when they can.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NUMBERS:
            return f"{name} is of {tensor.dtype}, expected floats"
        # The smallest and the largest are one pass without a copy, and NaN shows in both.
        if tensor.numel() and not all(torch.isfinite(end) for end in torch.aminmax(tensor)):
            return f"{name} has NaN or infinity"
    return None
