"""The active latents of a batch, and the operations on them.

Architectures and the training loop see codes only through this module. There are two forms of one, exact both and
differentiated by autograd: a dense matrix, and rows of indices and values where their number is fixed (TopK).

Legend: B batch, D d_in, F d_sae (latents), K active latents of a row.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels.indexed import DecodeTopK


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

    def columns(self, begin: int, end: int) -> "SparseCode":
        """The code of the latents from ``begin`` to before ``end`` alone."""
        return SparseCode(self._values_BF[..., begin:end])

    def smallest_positive(self) -> Tensor:
        """The smallest value above zero, infinity when there is none."""
        return torch.where(self._values_BF > 0, self._values_BF, torch.inf).min()

    def decode(self, W_dec_FD: Tensor) -> Tensor:
        """The sum of decoder rows weighted by the code: ``[B, D]``, no bias."""
        return self._values_BF @ W_dec_FD


class IndexedCode(SparseCode):
    """The same by index: only ``K`` latents of each row are kept, and only their decoder rows are read.

    Args:
        indices_BK: which latents; each row names a latent once.
        values_BK: their values, zeros allowed.
        d_sae: how many latents there are.
    """

    def __init__(self, indices_BK: Tensor, values_BK: Tensor, d_sae: int):
        self._indices_BK, self._values_BK, self._d_sae = indices_BK, values_BK, d_sae

    @override
    def dense(self) -> Tensor:
        zeros_BF = self._values_BK.new_zeros(*self._values_BK.shape[:-1], self._d_sae)
        return zeros_BF.scatter(-1, self._indices_BK, self._values_BK)

    @override
    def firing_counts(self) -> Tensor:
        counts_F = torch.zeros(self._d_sae, dtype=torch.int64, device=self._values_BK.device)
        return counts_F.index_add_(0, self._indices_BK.flatten(), (self._values_BK != 0).flatten().long())

    @override
    def l0(self) -> Tensor:
        return torch.count_nonzero(self._values_BK, dim=-1)

    @override
    def weighted(self, weights_F: Tensor) -> "IndexedCode":
        return IndexedCode(self._indices_BK, self._values_BK * weights_F[self._indices_BK], self._d_sae)

    @override
    def decode(self, W_dec_FD: Tensor) -> Tensor:
        values_BK = self._values_BK.to(W_dec_FD.dtype)  # autocast leaves sparse products alone
        return DecodeTopK.apply(values_BK, self._indices_BK, W_dec_FD)  # type: ignore[return-value]


def encode_select(
    x_BD: Tensor,
    W_enc_DF: Tensor,
    b_enc_F: Tensor,
    select: Callable[[Tensor], Tensor | SparseCode],
    *,
    latent_scale_F: Tensor | None = None,
    add_noise: Callable[[Tensor], Tensor] | None = None,
) -> tuple[SparseCode, Tensor]:
    """Pre-activations of a batch, and the latents that ``select`` lets through.

    Args:
        x_BD: centred, normalised input.
        select: pre-activations to activations, for example ``torch.relu``, or to a code; what it sets to zero is
            not active.
        latent_scale_F: multiplies the pre-activations before selection (decoder norms of a TopK SAE).
        add_noise: applied to the pre-activations before scaling and selection.

    Returns:
        the code, and the pre-activations ``[B, F]`` that it was selected from.
    """
    z_BF = x_BD @ W_enc_DF + b_enc_F
    if add_noise is not None:
        z_BF = add_noise(z_BF)
    if latent_scale_F is not None:
        z_BF = z_BF * latent_scale_F
    selected = select(z_BF)
    return selected if isinstance(selected, SparseCode) else SparseCode(selected), z_BF


def decode(code: SparseCode, W_dec_FD: Tensor) -> Tensor:
    """The sum of decoder rows weighted by the code: ``[B, D]``, no bias."""
    return code.decode(W_dec_FD)


def top_k(z_BF: Tensor, k: int) -> Tensor:
    """Keep the ``k`` largest of each row, rectified: at most ``k`` are non-zero (Gao et al. 2024, eq. 2)."""
    kept = torch.topk(z_BF, k, dim=-1, sorted=False)
    return torch.zeros_like(z_BF).scatter(-1, kept.indices, torch.relu(kept.values))


def batch_top_k(z_BF: Tensor, k: float) -> Tensor:
    """Keep the ``int(k · B)`` largest of the whole batch, rectified (Bussmann et al. 2024, eq. 2)."""
    values_N = torch.relu(z_BF).flatten()
    n_rows = z_BF.shape[:-1].numel()
    kept = torch.topk(values_N, int(k * n_rows), sorted=False)
    return torch.zeros_like(values_N).scatter(0, kept.indices, kept.values).reshape(z_BF.shape)
