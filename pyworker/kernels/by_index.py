"""Pre-activations and reconstructions at the entries of a support, with exact gradients.

The gradient of a pre-activation that takes no part is zero, so that every product of the backward pass has only N
terms: the same sums as the dense step, in another order.

Legend: B batch, D d_in, F d_sae, N entries of the support.
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function
from typing_extensions import override

from pyworker.kernels.support import Support


class EncodeByIndex(Function):
    """``apply(z_N, support, x_BD, b_dec_D, W_enc_DF, b_F)``: ``z_N``, with the gradients of what it was made of.

    ``x`` are the rows less ``b_dec``, where that is not None; they are data: no gradient reaches them. That of
    ``b_dec`` needs the sum of the others only, a product of a matrix with a vector (Gao et al. 2024, appendix D).
    """

    @override
    @staticmethod
    def forward(
        ctx: Any,
        z_N: Tensor,
        support: Support,
        x_BD: Tensor,
        b_dec_D: Tensor | None,
        W_enc_DF: Tensor,
        b_F: Tensor,
    ) -> Tensor:
        ctx.support, ctx.has_b_dec = support, b_dec_D is not None
        ctx.save_for_backward(x_BD, W_enc_DF)
        return z_N

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_BD, W_enc_DF = ctx.saved_tensors
        support, grad_N = ctx.support, grads[0].contiguous()
        grad_F = support.totals(grad_N)
        grad_b_dec_D = -(W_enc_DF @ grad_F) if ctx.has_b_dec else None
        return None, None, None, grad_b_dec_D, support.sums(grad_N, x_BD).t(), grad_F


class DecodeByIndex(Function):
    """The sum ``[B, D]`` of decoder rows, weighted: ``apply(values_N, support, W_dec_FD)``."""

    @override
    @staticmethod
    def forward(ctx: Any, values_N: Tensor, support: Support, W_dec_FD: Tensor) -> Tensor:
        ctx.support = support
        ctx.save_for_backward(values_N, W_dec_FD)
        return support.weighted_rows(values_N, W_dec_FD)

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values_N, W_dec_FD = ctx.saved_tensors
        grad_values_N, grad_W_dec_FD = ctx.support.products_and_sums(
            values_N, grads[0].contiguous(), W_dec_FD
        )
        return grad_values_N, None, grad_W_dec_FD
