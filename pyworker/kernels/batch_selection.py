"""Which pre-activations of a whole batch are the largest (Bussmann et al. 2024, eq. 2).

Legend: B batch, P rows of a block, D d_in, F d_sae, M candidates, N latents kept in all rows.
"""

import torch
from torch import Tensor

from pyworker.kernels.encode import centred
from pyworker.kernels.ragged import RaggedCode, blocks, selected
from pyworker.kernels.support import Support
from pyworker.profile import part

SAMPLE = 1 << 16
"""So many numbers tell a bound well enough."""


def encode_batch_top_k(
    rows_BD: Tensor,
    b_dec_D: Tensor | None,
    W_enc_DF: Tensor,
    b_F: Tensor,
    scale_F: Tensor | None,
    k: float,
) -> RaggedCode:
    """The ``int(k · B)`` largest pre-activations of the batch, those above zero among them, as a code.

    Row block by row block. A sample of the first one tells a bound that twice as many as wanted are above; later what
    is kept sets it, so that few candidates are looked at twice. Where the sample said too much, all begins without.

    Args:
        rows_BD: data: no gradient reaches them.
        b_dec_D: subtracted from them, or None.
        scale_F: pre-activations are compared after multiplication by it; the code is without. No gradient reaches it.
    """
    with torch.no_grad():
        x_BD = centred(rows_BD, b_dec_D)
        row_N, latent_N, z_N = _largest(x_BD, W_enc_DF, b_F, scale_F, int(k * len(x_BD)))
        support = Support(row_N, latent_N, len(x_BD), W_enc_DF.shape[1])
    return selected(support, z_N.to(W_enc_DF.dtype), x_BD, b_dec_D, W_enc_DF, b_F)


def _largest(
    x_BD: Tensor, W_enc_DF: Tensor, b_F: Tensor, scale_F: Tensor | None, wanted: int, sampled: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, latents and pre-activations ``[N]``. ``sampled``: with a first bound, that of a sample."""
    row_M = latent_M = torch.zeros(0, dtype=torch.int64, device=x_BD.device)
    compared_M = z_M = x_BD.new_zeros(0)
    bound = start = 0.0
    for first, z_PF in blocks(x_BD, W_enc_DF, b_F):
        with part("select"):
            compared_PF = z_PF if scale_F is None else z_PF * scale_F
            if sampled and first == 0:
                bound = start = _sampled_bound(compared_PF, wanted / (len(x_BD) * W_enc_DF.shape[1]))
            new = (compared_PF > bound).nonzero(as_tuple=True)
            row_M, latent_M = torch.cat((row_M, new[0] + first)), torch.cat((latent_M, new[1]))
            compared_M, z_M = torch.cat((compared_M, compared_PF[new])), torch.cat((z_M, z_PF[new]))
            if len(row_M) > wanted:
                largest_N = torch.topk(compared_M, wanted, sorted=False).indices.sort().values
                row_M, latent_M = row_M[largest_N], latent_M[largest_N]
                compared_M, z_M = compared_M[largest_N], z_M[largest_N]
                bound = compared_M.min().item() if wanted > 0 else torch.inf
    if start > 0 and len(row_M) < wanted:
        return _largest(x_BD, W_enc_DF, b_F, scale_F, wanted, sampled=False)
    return row_M, latent_M, z_M


def _sampled_bound(compared_PF: Tensor, share: float) -> float:
    """What about twice this share of the numbers is above, by some of them that lie evenly apart; 0 or more."""
    sample_M = compared_PF.flatten()[:: max(1, compared_PF.numel() // SAMPLE)]
    n_above = int(2 * share * len(sample_M)) + 1
    if n_above >= len(sample_M):
        return 0.0
    return max(0.0, torch.topk(sample_M, n_above, sorted=False).values.min().item())
