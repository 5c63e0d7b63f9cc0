"""Top-k by index: nothing of the size batch × d_sae outlives its block of rows, forward or backward.

The gradient of the selected pre-activations is zero everywhere else, so every product of the backward pass has only
``B · K`` terms. It is exact: the same sums as the dense step, in another order.

Legend: B batch, D d_in, F d_sae, K latents kept of a row, N = B · K.
"""

from typing import Any

from torch import Tensor
from torch.autograd import Function
from typing_extensions import override

from pyworker.kernels.selection import largest, largest_in_two_stages
from pyworker.kernels.support import Support


class EncodeTopK(Function):
    """The pre-activations ``[B, K]`` of the latents that are largest, and which they are.

    ``apply(rows_BD, b_dec_D, W_enc_DF, b_enc_F, scale_F, k, two_stages)``: ``(rows - b_dec) · W_enc + b_enc``, compared
    after multiplication by ``scale_F`` where it is given. The rows are data: no gradient reaches them. That of
    ``b_dec`` needs their sum only, one product of a matrix with a vector (Gao et al. 2024, appendix D).
    """

    @override
    @staticmethod
    def forward(
        ctx: Any,
        rows_BD: Tensor,
        b_dec_D: Tensor | None,
        W_enc_DF: Tensor,
        b_enc_F: Tensor,
        scale_F: Tensor | None,
        k: int,
        two_stages: bool,
    ) -> tuple[Tensor, Tensor]:
        x_BD = rows_BD if b_dec_D is None else rows_BD - b_dec_D
        select = largest_in_two_stages if two_stages else largest
        z_BK, indices_BK = select(x_BD, W_enc_DF, b_enc_F, scale_F, k)
        ctx.support = Support.of_rows(indices_BK, W_enc_DF.shape[1])
        ctx.has_b_dec = b_dec_D is not None
        ctx.save_for_backward(x_BD, W_enc_DF)
        ctx.mark_non_differentiable(indices_BK)
        return z_BK.to(b_enc_F.dtype), indices_BK

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_BD, W_enc_DF = ctx.saved_tensors
        grad_W_enc_DF = ctx.support.sums(grads[0].flatten(), x_BD).t()
        grad_b_enc_F = ctx.support.totals(grads[0].flatten())
        grad_b_dec_D = -(W_enc_DF @ grad_b_enc_F) if ctx.has_b_dec else None
        return None, grad_b_dec_D, grad_W_enc_DF, grad_b_enc_F, None, None, None


class DecodeTopK(Function):
    """The sum ``[B, D]`` of decoder rows, weighted: ``apply(values_BK, indices_BK, W_dec_FD)``."""

    @override
    @staticmethod
    def forward(ctx: Any, values_BK: Tensor, indices_BK: Tensor, W_dec_FD: Tensor) -> Tensor:
        ctx.support = Support.of_rows(indices_BK, W_dec_FD.shape[0])
        ctx.save_for_backward(values_BK, W_dec_FD)
        return ctx.support.weighted_rows(values_BK.flatten(), W_dec_FD)

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values_BK, W_dec_FD = ctx.saved_tensors
        of_values_N, of_W_dec_FD = ctx.support.products_and_sums(
            values_BK.flatten(), grads[0].contiguous(), W_dec_FD
        )
        return of_values_N.view_as(values_BK), None, of_W_dec_FD
