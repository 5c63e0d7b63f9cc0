"""The active latents of a batch, and the operations on them.

Architectures and the training loop see codes only through this module, so that another implementation
(rows of indices and values instead of a dense matrix) can take its place without touching them.
This one is the dense reference: exact, differentiated by autograd.

Legend: B batch, D d_in, F d_sae (latents).
"""

from collections.abc import Callable

import torch
from torch import Tensor


class SparseCode:
    """The latents of a batch: for each row the values of those that are active, zero elsewhere."""

    def __init__(self, values_BF: Tensor):
        self._values_BF = values_BF

    def dense(self) -> Tensor:
        """The code as a matrix ``[B, F]``, zeros included."""
        return self._values_BF

    def firing_counts(self) -> Tensor:
        """How many rows each latent is active in: int64 ``[F]``."""
        return torch.count_nonzero(self._values_BF, dim=0)

    def l0(self) -> Tensor:
        """How many latents are active in each row: int64 ``[B]``."""
        return torch.count_nonzero(self._values_BF, dim=-1)

    def weighted(self, weights_F: Tensor) -> "SparseCode":
        """The code with every latent multiplied by its weight."""
        return SparseCode(self._values_BF * weights_F)


def encode_select(
    x_BD: Tensor,
    W_enc_DF: Tensor,
    b_enc_F: Tensor,
    select: Callable[[Tensor], Tensor],
    *,
    latent_scale_F: Tensor | None = None,
    add_noise: Callable[[Tensor], Tensor] | None = None,
) -> tuple[SparseCode, Tensor]:
    """Pre-activations of a batch, and the latents that ``select`` lets through.

    Args:
        x_BD: centred, normalised input.
        select: pre-activations to activations, for example ``torch.relu``; what it sets to zero is not
        active. latent_scale_F: multiplies the pre-activations before selection (decoder norms of a TopK SAE).
        add_noise: applied to the pre-activations before scaling and selection.

    Returns:
        the code, and the pre-activations ``[B, F]`` that it was selected from.
    """
    z_BF = x_BD @ W_enc_DF + b_enc_F
    if add_noise is not None:
        z_BF = add_noise(z_BF)
    if latent_scale_F is not None:
        z_BF = z_BF * latent_scale_F
    return SparseCode(select(z_BF)), z_BF


def decode(code: SparseCode, W_dec_FD: Tensor) -> Tensor:
    """The sum of decoder rows weighted by the code: ``[B, D]``, no bias."""
    return code.dense() @ W_dec_FD


def top_k(z_BF: Tensor, k: int) -> Tensor:
    """Keep the ``k`` largest of each row, rectified: at most ``k`` are non-zero (Gao et al. 2024, eq. 2)."""
    values_Bk, indices_Bk = torch.topk(z_BF, k, dim=-1, sorted=False)
    return torch.zeros_like(z_BF).scatter(-1, indices_Bk, torch.relu(values_Bk))
