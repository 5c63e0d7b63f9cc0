"""Codes by index: values at the entries of a support, and their exact gradients.

The gradient of a pre-activation that takes no part is zero, so that every product of the backward pass has only N
terms: the same sums as the dense step, in another order.

Legend: B batch, D d_in, F d_sae, N entries of the support.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from typing_extensions import Self, override

from pyworker.kernels.sparse_code import SparseCode
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


class CodeByIndex(SparseCode):
    """Some latents of each row; only their decoder rows are read.

    Args:
        support: which.
        values: theirs, zeros allowed: one for each entry, in its order.
    """

    def __init__(self, support: Support, values: Tensor):
        super().__init__(values)
        self.support = support

    @override
    def with_values(self, values: Tensor) -> Self:
        return type(self)(self.support, values)

    @override
    def matrix(self) -> Tensor | None:
        return None

    @override
    def dense(self) -> Tensor:
        support = self.support
        zeros_BF = self.values.new_zeros(support.n_rows, support.n_latents)
        return zeros_BF.index_put((support.row_N, support.latent_N), self.values.flatten())

    @override
    def firing_counts(self) -> Tensor:
        counts_F = torch.zeros(self.support.n_latents, dtype=torch.int64, device=self.values.device)
        return counts_F.index_add_(0, self.support.latent_N, (self.values != 0).flatten().long())

    @override
    def decode(self, W_dec_FD: Tensor) -> Tensor:
        values_N = self.values.flatten().to(W_dec_FD.dtype)  # autocast leaves sparse products alone
        return DecodeByIndex.apply(values_N, self.support, W_dec_FD)  # type: ignore[return-value]
