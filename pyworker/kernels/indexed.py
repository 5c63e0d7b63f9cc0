"""The largest latents of each row, by index: nothing of the size batch × d_sae outlives its block of rows.

Legend: B batch, D d_in, F d_sae, K latents kept of a row.
"""

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels.by_index import CodeByIndex, EncodeByIndex
from pyworker.kernels.encode import centred
from pyworker.kernels.selection import largest, largest_in_two_stages
from pyworker.kernels.support import Support


class IndexedCode(CodeByIndex):
    """The same number of latents of each row: values ``[B, K]``."""

    @property
    def indices_BK(self) -> Tensor:
        """Which latents."""
        return self.support.latent_N.view_as(self.values)

    @override
    def beside(self, weights_F: Tensor) -> Tensor:
        return weights_F[self.indices_BK]


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
        x_BD = centred(rows_BD, b_dec_D)
        select = largest_in_two_stages if two_stages else largest
        z_BK, indices_BK = select(x_BD, W_enc_DF, b_F, scale_F, k)
        support, z_N = Support.of_rows(indices_BK, W_enc_DF.shape[1]), z_BK.flatten().to(b_F.dtype)
    z_N = EncodeByIndex.apply(z_N, support, x_BD, b_dec_D, W_enc_DF, b_F)
    return IndexedCode(support, z_N.view_as(indices_BK))  # type: ignore[union-attr]
