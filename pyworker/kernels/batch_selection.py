"""Which pre-activations of a whole batch are the largest (Bussmann et al. 2024, eq. 2).

Legend: B batch, P rows of a block, D d_in, F d_sae, M candidates, N latents kept in all rows.
"""

import torch
from torch import Tensor

from pyworker.kernels.ragged import RaggedCode, blocks, selected
from pyworker.kernels.support import Support
from pyworker.profile import part


def encode_batch_top_k(
    rows_BD: Tensor,
    b_dec_D: Tensor | None,
    W_enc_DF: Tensor,
    b_F: Tensor,
    scale_F: Tensor | None,
    k: float,
) -> RaggedCode:
    """The ``int(k · B)`` largest pre-activations of the batch, those above zero among them, as a code.

    Row block by row block: what is kept of the blocks before sets the bound of the next one, so that few candidates are
    ever held.

    Args:
        rows_BD: data: no gradient reaches them.
        b_dec_D: subtracted from them, or None.
        scale_F: pre-activations are compared after multiplication by it; the code is without. No gradient reaches it.
    """
    with torch.no_grad():
        x_BD = rows_BD if b_dec_D is None else rows_BD - b_dec_D
        wanted, bound = int(k * len(x_BD)), 0.0
        row_M = latent_M = torch.zeros(0, dtype=torch.int64, device=x_BD.device)
        compared_M = z_M = x_BD.new_zeros(0)
        for first, z_PF in blocks(x_BD, W_enc_DF, b_F):
            with part("select"):
                compared_PF = z_PF if scale_F is None else z_PF * scale_F
                new = (compared_PF > bound).nonzero(as_tuple=True)
                row_M, latent_M = torch.cat((row_M, new[0] + first)), torch.cat((latent_M, new[1]))
                compared_M, z_M = torch.cat((compared_M, compared_PF[new])), torch.cat((z_M, z_PF[new]))
                if len(row_M) > wanted:
                    largest_N = torch.topk(compared_M, wanted, sorted=False).indices.sort().values
                    row_M, latent_M = row_M[largest_N], latent_M[largest_N]
                    compared_M, z_M = compared_M[largest_N], z_M[largest_N]
                    bound = compared_M.min().item() if wanted > 0 else torch.inf
        support = Support(row_M, latent_M, len(x_BD), W_enc_DF.shape[1])
    return selected(support, z_M.to(W_enc_DF.dtype), x_BD, b_dec_D, W_enc_DF, b_F)
