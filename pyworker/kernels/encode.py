"""Every pre-activation of every row, and its gradients.

Legend: B batch, D d_in, F d_sae.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from typing_extensions import override

from pyworker.kernels.product import affine


class Encode(Function):
    """``apply(rows, b_dec_D, W_enc_DF, b_F)``: ``(rows - b_dec) · W_enc + b``, for ``[..., D]``.

    ``b_dec`` is left out where it is None. Its gradient needs only the sum of the others, a product of a matrix with a
    vector (Gao et al. 2024, appendix D): autograd would multiply two matrices for it.
    """

    @override
    @staticmethod
    def forward(ctx: Any, rows: Tensor, b_dec_D: Tensor | None, W_enc_DF: Tensor, b_F: Tensor) -> Tensor:
        x_BD = centred(rows, b_dec_D).reshape(-1, rows.shape[-1])
        ctx.save_for_backward(x_BD, W_enc_DF)
        return pre_activations(x_BD, W_enc_DF, b_F).reshape(*rows.shape[:-1], -1)

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_BD, W_enc_DF = ctx.saved_tensors
        of_rows, of_b_dec, of_W_enc, of_b = ctx.needs_input_grad
        grad_BF = grads[0].reshape(-1, grads[0].shape[-1])  # bfloat16 where autocast made the product so
        grad_F = grad_BF.sum(dim=0, dtype=W_enc_DF.dtype) if of_b or of_b_dec else None
        grad_rows = None
        if of_rows:
            grad_BD = grad_BF @ W_enc_DF.t().to(grad_BF)
            grad_rows = grad_BD.reshape(*grads[0].shape[:-1], -1).to(x_BD)
        return (
            grad_rows,
            -(W_enc_DF @ grad_F) if of_b_dec else None,
            (grad_BF.t() @ x_BD.to(grad_BF)).t().to(W_enc_DF) if of_W_enc else None,
            grad_F,
        )


def centred(rows: Tensor, b_dec_D: Tensor | None) -> Tensor:
    """``rows - b_dec``, for ``[..., D]``; ``b_dec`` is left out where it is None."""
    return rows if b_dec_D is None else rows - b_dec_D


def pre_activations(x_BD: Tensor, W_enc_DF: Tensor, b_F: Tensor) -> Tensor:
    """``x · W_enc + b``, in bfloat16 under autocast; no gradient."""
    if torch.is_autocast_enabled(x_BD.device.type):
        return torch.addmm(b_F, x_BD, W_enc_DF)
    return affine(x_BD, W_enc_DF, b_F)
