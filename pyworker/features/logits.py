"""What a latent does to the logits by itself: its decoder row through the unembedding, the final norm left out, as
SAELens' users know it from SAEDashboard.

Legend: F latents of a block, D width of the residual stream, V vocabulary, K tokens shown.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyworker.features.histogram import logit_histograms

VALUES_AT_ONCE = 2**22
"""Of the unembedding, in float32: 16 MB."""


@dataclass(frozen=True)
class LogitEffects:
    """Of each latent: the tokens it raises and lowers most with their logits, and a histogram over all tokens."""

    positive: list[list[tuple[int, float]]]
    negative: list[list[tuple[int, float]]]
    edges: list[list[float]]
    counts: list[list[int]]


@torch.no_grad()
def logit_effects(directions_FD: Tensor, unembedding_VD: Tensor, k: int) -> LogitEffects:
    """Of a few latents: a matrix F × V is held. In float32 whatever the type of the model: bfloat16 has two digits.

    Args:
        directions_FD: what one unit of each latent adds to the residual stream.
        unembedding_VD: of the language model.
        k: tokens of each side.
    """
    directions_FD = directions_FD.to(unembedding_VD.device).float()
    blocks = unembedding_VD.split(max(1, VALUES_AT_ONCE // unembedding_VD.shape[1]))
    logits_FV = torch.cat([directions_FD @ block_BD.float().T for block_BD in blocks], dim=1)
    k = min(k, logits_FV.shape[1])
    edges, counts = logit_histograms(logits_FV)
    return LogitEffects(
        _numbered(logits_FV.topk(k, dim=1)),
        _numbered(logits_FV.topk(k, dim=1, largest=False)),
        edges.tolist(),
        counts.tolist(),
    )


def _numbered(best: tuple[Tensor, Tensor]) -> list[list[tuple[int, float]]]:
    values, indices = best
    return [
        list(zip(index, value, strict=True))
        for index, value in zip(indices.tolist(), values.tolist(), strict=True)
    ]
