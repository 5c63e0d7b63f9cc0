"""Latents above a bound, by index: each row has as many as it has.

Nothing of the size batch × d_sae outlives its block of rows, forward or backward. Gradients are exact: a latent below
its bound takes no part in the losses, so that its pre-activation has none.

Legend: B batch, P rows of a block, D d_in, F d_sae, N latents above their bound in all rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels.by_index import CodeByIndex, EncodeByIndex
from pyworker.kernels.encode import centred, pre_activations
from pyworker.kernels.row_blocks import row_blocks
from pyworker.kernels.support import Support
from pyworker.profile import part


class RaggedCode(CodeByIndex):
    """A number of latents of its own for each row: values ``[N]``."""

    @override
    def beside(self, weights_F: Tensor) -> Tensor:
        return weights_F.index_select(0, self.support.latent_N)

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
        x_BD = centred(rows_BD, b_dec_D)
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
    for rows in row_blocks(x_BD, W_enc_DF.shape[1], x_BD.element_size()):
        yield rows.start, pre_activations(x_BD[rows], W_enc_DF, b_F)
