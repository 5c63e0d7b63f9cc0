"""Dense products: every latent of every row, which no exact step can do without, and the layers of a language model.

Legend: B batch, D d_in, F d_sae, N inputs, M outputs.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pyworker.profile import Profile

SAMPLE_ROWS, SAMPLE_RUNS = 256, 5


def affine(x_BD: Tensor, W_DF: Tensor, b_F: Tensor) -> Tensor:
    """``x · W + b``, in the precision of its inputs; no gradient. An SAE stores its encoder by latent."""
    return linear(x_BD, W_DF.t(), b_F)


def linear(x: Tensor, W_MN: Tensor, b_M: Tensor | None) -> Tensor:
    """``x · Wᵀ + b`` for ``[..., N]``, in the precision of its inputs; no gradient.

    oneDNN takes weights that lie by output, and was faster than MKL at every shape that was measured on AVX-512 (one
    thread, float32): 1.3 times at 256 × 1024 × 16384, 1.1 to 1.2 at the layers of SmolLM2-135M, 2.7 at 4096 × 64 × 64.
    In bfloat16 torch takes oneDNN itself, but adds ``b`` in a pass of its own.
    """
    if x.device.type != "cpu" or x.dtype not in ONE_DNN_DTYPES or not W_MN.is_contiguous():
        return functional.linear(x, W_MN, b_M)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, W_MN, b_M, "none", [], "")
    return product


def _one_dnn_dtypes() -> list[torch.dtype]:
    """What oneDNN of this build of torch multiplies on this processor."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return []
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return [torch.float32] + [torch.bfloat16] * has_bfloat16


ONE_DNN_DTYPES = _one_dnn_dtypes()


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
