"""Which latents write in the same direction.

Legend: F latents, D d_in, R rows of a block.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

COSINES_AT_ONCE = 2**21


@torch.no_grad()
def most_similar(W_dec_FD: Tensor, wanted_R: Tensor, k: int) -> Iterator[list[tuple[int, float]]]:
    """Of each wanted latent the ``k`` others with the largest cosine of their decoder rows, largest first."""
    unit_FD = functional.normalize(W_dec_FD.float(), dim=1)
    for block_R in wanted_R.to(unit_FD.device).split(max(1, COSINES_AT_ONCE // len(unit_FD))):
        cosine_RF = unit_FD[block_R] @ unit_FD.T
        cosine_RF[torch.arange(len(block_R), device=block_R.device), block_R] = -torch.inf  # itself
        best = cosine_RF.topk(min(k, len(unit_FD) - 1), dim=1)
        for index, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            yield list(zip(index, value, strict=True))
