"""The one dense product that no exact step can do without: every latent of every row.

Legend: B batch, D d_in, F d_sae.
"""

import torch
from torch import Tensor

from pyworker.profile import Profile

SAMPLE_ROWS, SAMPLE_RUNS = 256, 5


def affine(x_BD: Tensor, W_DF: Tensor, b_F: Tensor) -> Tensor:
    """``x · W + b``, in the precision of its inputs; no gradient.

    oneDNN takes weights whose rows are latents, which is how an SAE stores its encoder, and was 1.3 times as fast as
    MKL's product at 256 × 1024 × 16384 on AVX-512 (one thread, float32).
    """
    W_FD = W_DF.t()
    if x_BD.dtype != torch.float32 or x_BD.device.type != "cpu" or not W_FD.is_contiguous() or not ONE_DNN:
        return torch.addmm(b_F, x_BD, W_DF)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x_BD, W_FD, b_F, "none", [], "")
    return product


ONE_DNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether this build of torch has it."""


@torch.no_grad()
def best_seconds(W_DF: Tensor, n_rows: int) -> float:
    """How long this device takes at its best for the product of ``n_rows`` rows with ``W``, measured on a few."""
    x_PD, b_F = W_DF.new_ones(SAMPLE_ROWS, W_DF.shape[0]), torch.zeros_like(W_DF[0])
    seconds = []
    for _ in range(SAMPLE_RUNS):
        clock = Profile(str(W_DF.device))
        with clock.measured("product"):
            affine(x_PD, W_DF, b_F)
        seconds.append(clock.parts["product"].seconds)
    return min(seconds) * n_rows / SAMPLE_ROWS
