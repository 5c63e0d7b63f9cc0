"""Histograms of activations and of logits.

Legend: F latents, N entries, V vocabulary.
"""

import torch
from torch import Tensor

STEPS_AN_OCTAVE = 4
LOWEST, HIGHEST = -16, 20
"""Octaves: what is below 2^-16 shares the first bin, what is above 2^20 the last."""
N_BINS = (HIGHEST - LOWEST) * STEPS_AN_OCTAVE + 2
LOGIT_BINS = 40


def activation_edges() -> Tensor:
    """The bins of an activation above zero: bin ``i`` begins at edge ``i``; float32 ``[N_BINS]``."""
    steps = torch.arange(LOWEST * STEPS_AN_OCTAVE, HIGHEST * STEPS_AN_OCTAVE + 1, dtype=torch.float64)
    return torch.cat([torch.zeros(1), torch.exp2(steps / STEPS_AN_OCTAVE).float()])


def activation_bins(value_N: Tensor) -> Tensor:
    """Number of the bin of each activation: int64."""
    return torch.bucketize(value_N, activation_edges()[1:].to(value_N.device), right=True)


def logit_histograms(logits_FV: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of each row in LOGIT_BINS bins of equal width from its smallest to its largest.

    Returns:
        edges ``[F, LOGIT_BINS + 1]`` and counts ``[F, LOGIT_BINS]``.
    """
    low_F1, high_F1 = logits_FV.amin(dim=1, keepdim=True), logits_FV.amax(dim=1, keepdim=True)
    width_F1 = ((high_F1 - low_F1) / LOGIT_BINS).clamp(min=torch.finfo(logits_FV.dtype).tiny)
    bin_FV = ((logits_FV - low_F1) / width_F1).long().clamp(0, LOGIT_BINS - 1)
    counts = torch.zeros(len(logits_FV), LOGIT_BINS, dtype=torch.int64, device=logits_FV.device)
    counts.scatter_add_(1, bin_FV, torch.ones_like(bin_FV))
    steps = torch.arange(LOGIT_BINS + 1, device=logits_FV.device, dtype=logits_FV.dtype)
    return low_F1 + steps * (high_F1 - low_F1) / LOGIT_BINS, counts
