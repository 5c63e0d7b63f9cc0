"""The largest latents of each row, by index: nothing of the size batch × d_sae outlives its block of rows.

Legend: B batch, D d_in, F d_sae, K latents kept of a row.
"""

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels.by_index import DecodeByIndex, EncodeByIndex
from pyworker.kernels.selection import largest, largest_in_two_stages
from pyworker.kernels.sparse_code import SparseCode
from pyworker.kernels.support import Support


class IndexedCode(SparseCode):
    """The same number of latents of each row, and only their decoder rows are read.

    Args:
        support: which latents, ``K`` of each row.
        values_BK: their values, zeros allowed.
    """

    def __init__(self, support: Support, values_BK: Tensor):
        super().__init__(values_BK)
        self.support = support

    @property
    def indices_BK(self) -> Tensor:
        """Which latents."""
        return self.support.latent_N.view_as(self.values)

    @override
    def with_values(self, values: Tensor) -> "IndexedCode":
        return IndexedCode(self.support, values)

    @override
    def beside(self, weights_F: Tensor) -> Tensor:
        return weights_F[self.indices_BK]

    @override
    def matrix(self) -> Tensor | None:
        return None

    @override
    def dense(self) -> Tensor:
        zeros_BF = self.values.new_zeros(self.support.n_rows, self.support.n_latents)
        return zeros_BF.scatter(-1, self.indices_BK, self.values)

    @override
    def firing_counts(self) -> Tensor:
        counts_F = torch.zeros(self.support.n_latents, dtype=torch.int64, device=self.values.device)
        return counts_F.index_add_(0, self.support.latent_N, (self.values != 0).flatten().long())

    @override
    def decode(self, W_dec_FD: Tensor) -> Tensor:
        values_N = self.values.flatten().to(W_dec_FD.dtype)  # autocast leaves sparse products alone
        return DecodeByIndex.apply(values_N, self.support, W_dec_FD)  # type: ignore[return-value]


def encode_top_k(
    rows_BD: Tensor,
    b_dec_D: Tensor | None,
    W_enc_DF: Tensor,
    b_F: Tensor,
    scale_F: Tensor | None,
    k: int,
    two_stages: bool,
) -> IndexedCode:
    """The ``k`` largest of each row of ``(rows - b_dec) · W_enc + b``, as a code.

    Args:
        rows_BD: data: no gradient reaches them.
        b_dec_D: None where it is not subtracted.
        scale_F: pre-activations are compared after multiplication by it; the code is without. No gradient reaches it.
        two_stages: choose candidates with a product in bfloat16.
    """
    with torch.no_grad():
        x_BD = rows_BD if b_dec_D is None else rows_BD - b_dec_D
        select = largest_in_two_stages if two_stages else largest
        z_BK, indices_BK = select(x_BD, W_enc_DF, b_F, scale_F, k)
        support, z_N = Support.of_rows(indices_BK, W_enc_DF.shape[1]), z_BK.flatten().to(b_F.dtype)
    z_N = EncodeByIndex.apply(z_N, support, x_BD, b_dec_D, W_enc_DF, b_F)
    return IndexedCode(support, z_N.view_as(indices_BK))  # type: ignore[union-attr]
