"""Latents above a bound, by index: each row has as many as it has.

Nothing of the size batch × d_sae outlives its block of rows, forward or backward. Gradients are exact: a latent below
its bound takes no part in the losses, so that its pre-activation has none.

Legend: B batch, P rows of a block, D d_in, F d_sae, N latents above their bound in all rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels.by_index import DecodeByIndex, EncodeByIndex
from pyworker.kernels.encode import pre_activations
from pyworker.kernels.row_blocks import rows_of_a_block
from pyworker.kernels.sparse_code import SparseCode
from pyworker.kernels.support import Support
from pyworker.profile import part


class RaggedCode(SparseCode):
    """Some latents of each row.

    Args:
        support: which.
        values_N: their values, zeros allowed.
    """

    def __init__(self, support: Support, values_N: Tensor):
        super().__init__(values_N)
        self.support = support

    @override
    def with_values(self, values: Tensor) -> "RaggedCode":
        return RaggedCode(self.support, values)

    @override
    def beside(self, weights_F: Tensor) -> Tensor:
        return weights_F.index_select(0, self.support.latent_N)

    @override
    def dense(self) -> Tensor:
        support = self.support
        zeros_BF = self.values.new_zeros(support.n_rows, support.n_latents)
        return zeros_BF.index_put((support.row_N, support.latent_N), self.values)

    @override
    def matrix(self) -> Tensor | None:
        return None

    @override
    def firing_counts(self) -> Tensor:
        counts_F = torch.zeros(self.support.n_latents, dtype=torch.int64, device=self.values.device)
        return counts_F.index_add_(0, self.support.latent_N, (self.values != 0).long())

    @override
    def l0(self) -> Tensor:
        counts_B = torch.zeros(self.support.n_rows, dtype=torch.int64, device=self.values.device)
        return counts_B.index_add_(0, self.support.row_N, (self.values != 0).long())

    @override
    def row_sums(self) -> Tensor:
        return self.values.new_zeros(self.support.n_rows).index_add(0, self.support.row_N, self.values)

    @override
    def row_norms(self, p: float) -> Tensor:
        return self.with_values(self.values.abs().pow(p)).row_sums().pow(1 / p)

    @override
    def weighted_sums(self, weights_F: Tensor) -> Tensor:
        return self.weighted(weights_F).row_sums()

    @override
    def columns(self, begin: int, end: int) -> "RaggedCode":
        whole = self.support
        inside_M = ((whole.latent_N >= begin) & (whole.latent_N < end)).nonzero().squeeze(-1)
        row_M, latent_M = whole.row_N[inside_M], whole.latent_N[inside_M] - begin
        part = Support(row_M, latent_M, whole.n_rows, end - begin)
        return RaggedCode(part, self.values.index_select(0, inside_M))

    @override
    def decode(self, W_dec_FD: Tensor) -> Tensor:
        values_N = self.values.to(W_dec_FD.dtype)  # autocast leaves sparse products alone
        return DecodeByIndex.apply(values_N, self.support, W_dec_FD)  # type: ignore[return-value]


def encode_above(
    rows_BD: Tensor,
    b_dec_D: Tensor | None,
    W_enc_DF: Tensor,
    b_F: Tensor,
    bound_F: Tensor | None = None,
) -> RaggedCode:
    """The pre-activations ``(rows - b_dec) · W_enc + b`` that are above their bound, as a code.

    Args:
        rows_BD: data: no gradient reaches them.
        b_dec_D: None where it is not subtracted.
        bound_F: above which a latent is kept; default 0. No gradient reaches it.
    """
    with torch.no_grad():
        x_BD = rows_BD if b_dec_D is None else rows_BD - b_dec_D
        row, latent, z = [], [], []
        for first, z_PF in blocks(x_BD, W_enc_DF, b_F):
            with part("select"):
                kept_PF = z_PF > (0 if bound_F is None else bound_F)
                row_M, latent_M = kept_PF.nonzero(as_tuple=True)
                row.append(row_M + first)
                latent.append(latent_M)
                z.append(z_PF[row_M, latent_M])
        support = Support(torch.cat(row), torch.cat(latent), x_BD.shape[0], W_enc_DF.shape[1])
        z_N = torch.cat(z).to(W_enc_DF.dtype)
    return selected(support, z_N, x_BD, b_dec_D, W_enc_DF, b_F)


def selected(
    support: Support, z_N: Tensor, x_BD: Tensor, b_dec_D: Tensor | None, W_enc_DF: Tensor, b_F: Tensor
) -> RaggedCode:
    """Pre-activations ``z_N`` that were found without gradients, with them."""
    return RaggedCode(support, EncodeByIndex.apply(z_N, support, x_BD, b_dec_D, W_enc_DF, b_F))  # type: ignore[arg-type]


def blocks(x_BD: Tensor, W_enc_DF: Tensor, b_F: Tensor) -> Iterator[tuple[int, Tensor]]:
    """All pre-activations, some rows at a time: the number of the first row, and ``[P, F]``."""
    size = rows_of_a_block(x_BD, W_enc_DF.shape[1], x_BD.element_size())
    for first in range(0, x_BD.shape[0], size):
        yield first, pre_activations(x_BD[first : first + size], W_enc_DF, b_F)
