"""Top-k by index: nothing of the size batch × d_sae outlives its block of rows, forward or backward.

The gradient of the selected pre-activations is zero everywhere else, so every product of the backward pass has only
``B · K`` terms. It is exact: the same sums as the dense step, in another order.

Legend: B batch, D d_in, F d_sae, K latents kept of a row, N = B · K.
"""

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from typing_extensions import override

from pyworker.kernels.product import affine

# Said once a process, of a part of torch that has been there since 1.10.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

BLOCK_BYTES = 16 * 2**20
"""Pre-activations of so many bytes are held at a time: about what a core's share of the cache keeps."""


class Support:
    """Which latents are active in which row, and the same by latent.

    Args:
        indices_BK: the latents of each row, int64; a row names a latent once.
        n_latents: F.
    """

    def __init__(self, indices_BK: Tensor, n_latents: int):
        self.indices_BK, self.n_latents = indices_BK, n_latents

    def products(self, rows_BD: Tensor, W_FD: Tensor) -> Tensor:
        """``⟨rows[b], W[f]⟩`` for every active latent: ``[B, K]``. Latent by latent, each row of W is read once."""
        starts_F1, rows_N, order_N = self._by_latent
        shape = (self.n_latents, self.indices_BK.shape[0])
        zeros_N = rows_BD.new_zeros(len(rows_N))
        zeros_FB = torch.sparse_csr_tensor(starts_F1, rows_N, zeros_N, shape, check_invariants=False)
        sampled_FB = torch.sparse.sampled_addmm(zeros_FB, W_FD, rows_BD.t(), beta=0.0)
        return torch.empty_like(zeros_N).index_copy_(0, order_N, sampled_FB.values()).view_as(self.indices_BK)

    def sums(self, values_BK: Tensor, rows_BD: Tensor) -> Tensor:
        """For each latent the weighted sum ``[F, D]`` of the rows it is active in, in their order, so that sums repeat."""
        starts_F1, rows_N, order_N = self._by_latent
        weights_N = values_BK.flatten()[order_N]
        return functional.embedding_bag(
            rows_N, rows_BD, starts_F1, mode="sum", per_sample_weights=weights_N, include_last_offset=True
        )

    @cached_property
    def _by_latent(self) -> tuple[Tensor, Tensor, Tensor]:
        latent_N = self.indices_BK.flatten()
        order_N = torch.argsort(latent_N, stable=True)
        counts_F = torch.bincount(latent_N, minlength=self.n_latents)
        starts_F1 = functional.pad(counts_F.cumsum(0), (1, 0))
        return starts_F1, order_N // self.indices_BK.shape[1], order_N


class EncodeTopK(Function):
    """The pre-activations ``[B, K]`` of the latents that are largest, and which they are.

    ``apply(rows_BD, b_dec_D, W_enc_DF, b_enc_F, scale_F, k)``: ``(rows - b_dec) · W_enc + b_enc``, compared after
    multiplication by ``scale_F`` where it is given. The rows are data: no gradient reaches them. That of ``b_dec``
    needs their sum only, one product of a matrix with a vector (Gao et al. 2024, appendix D).
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
    ) -> tuple[Tensor, Tensor]:
        x_BD = rows_BD if b_dec_D is None else rows_BD - b_dec_D
        n_rows, n_latents = x_BD.shape[0], W_enc_DF.shape[1]
        block = max(1, BLOCK_BYTES // (n_latents * x_BD.element_size()))
        kept: list[Tensor] = []
        for first in range(0, n_rows, block):
            z_PF = affine(x_BD[first : first + block], W_enc_DF, b_enc_F)
            compared_PF = z_PF if scale_F is None else z_PF * scale_F
            kept.append(torch.topk(compared_PF, k, dim=-1, sorted=False).indices)
            kept.append(z_PF.gather(-1, kept[-1]))
        indices_BK, z_BK = torch.cat(kept[::2]), torch.cat(kept[1::2])
        ctx.support, ctx.has_b_dec = Support(indices_BK, n_latents), b_dec_D is not None
        ctx.save_for_backward(x_BD, W_enc_DF)
        ctx.mark_non_differentiable(indices_BK)
        return z_BK.to(b_enc_F.dtype), indices_BK

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_BD, W_enc_DF = ctx.saved_tensors
        grad_W_enc_DF = ctx.support.sums(grads[0], x_BD).t()
        indices_N = ctx.support.indices_BK.flatten()
        grad_b_enc_F = torch.zeros_like(W_enc_DF[0]).index_add_(0, indices_N, grads[0].flatten())
        grad_b_dec_D = -(W_enc_DF @ grad_b_enc_F) if ctx.has_b_dec else None
        return None, grad_b_dec_D, grad_W_enc_DF, grad_b_enc_F, None, None


class DecodeTopK(Function):
    """The sum ``[B, D]`` of decoder rows, weighted: ``apply(values_BK, indices_BK, W_dec_FD)``."""

    @override
    @staticmethod
    def forward(ctx: Any, values_BK: Tensor, indices_BK: Tensor, W_dec_FD: Tensor) -> Tensor:
        ctx.save_for_backward(values_BK, indices_BK, W_dec_FD)
        return functional.embedding_bag(indices_BK, W_dec_FD, per_sample_weights=values_BK, mode="sum")

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values_BK, indices_BK, W_dec_FD = ctx.saved_tensors
        support, grad_BD = Support(indices_BK, W_dec_FD.shape[0]), grads[0].contiguous()
        return support.products(grad_BD, W_dec_FD), None, support.sums(values_BK, grad_BD)
