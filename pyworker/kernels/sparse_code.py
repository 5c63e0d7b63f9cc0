"""The active latents of a batch, and the operations on them.

Architectures and the training loop see codes only through this module. There are three forms of one, all exact and
differentiated by autograd: a dense matrix, by index with the same number in each row
(:mod:`pyworker.kernels.indexed`, for TopK), and with a number of its own (:mod:`pyworker.kernels.ragged`).

Legend: B batch, D d_in, F d_sae (latents), K active latents of a row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pyworker.kernels.encode import Encode


class SparseCode:
    """The latents of a batch: for each row the values of those that are active, zero elsewhere.

    What an architecture does to latents one by one it writes once, for every form: from :attr:`values` and from what
    lies :meth:`beside` them to :meth:`with_values`.

    Args:
        values: one number for each place that is kept: here all, ``[B, F]``.
    """

    def __init__(self, values: Tensor):
        self.values = values

    def with_values(self, values: Tensor) -> "SparseCode":
        """Other numbers in the same places."""
        return SparseCode(values)

    def beside(self, weights_F: Tensor) -> Tensor:
        """A number for each latent, so that it meets the values of that latent."""
        return weights_F

    def weighted(self, weights_F: Tensor) -> "SparseCode":
        """The code with every latent multiplied by its weight."""
        return self.with_values(self.values * self.beside(weights_F))

    def dense(self) -> Tensor:
        """The code as a matrix ``[B, F]``, zeros included."""
        return self.values

    def matrix(self) -> Tensor | None:
        """The same where it lies ready; None where it would have to be made."""
        return self.values

    def firing_counts(self) -> Tensor:
        """How many rows each latent is active in: int64 ``[F]``."""
        return torch.count_nonzero(self.values, dim=0)

    def l0(self) -> Tensor:
        """How many latents are active in each row: int64 ``[B]``."""
        return torch.count_nonzero(self.values, dim=-1)

    def row_sums(self) -> Tensor:
        """The sum of each row: ``[B]``."""
        return self.values.sum(dim=-1)

    def row_norms(self, p: float) -> Tensor:
        """The p-norm of each row: ``[B]``."""
        return self.values.norm(p=p, dim=-1)

    def weighted_sums(self, weights_F: Tensor) -> Tensor:
        """The sum of each row with every latent multiplied by its weight: ``[B]``."""
        if self.values.dtype == weights_F.dtype:
            return self.values @ weights_F
        return (self.values * weights_F).sum(dim=-1)  # bfloat16 of autocast: the sum is not to be

    def columns(self, begin: int, end: int) -> "SparseCode":
        """The code of the latents from ``begin`` to before ``end`` alone."""
        return SparseCode(self.values[..., begin:end])

    def smallest_positive(self) -> Tensor:
        """The smallest value above zero, infinity when there is none."""
        positive = torch.where(self.values > 0, self.values, torch.inf)
        return positive.min() if positive.numel() > 0 else positive.new_tensor(torch.inf)

    def decode(self, W_dec_FD: Tensor) -> Tensor:
        """The sum of decoder rows weighted by the code: ``[B, D]``, no bias."""
        return self.values @ W_dec_FD


def encode_select(
    rows_BD: Tensor,
    b_dec_D: Tensor | None,
    W_enc_DF: Tensor,
    b_enc_F: Tensor,
    select: Callable[[Tensor], Tensor | SparseCode],
    *,
    latent_scale_F: Tensor | None = None,
    add_noise: Callable[[Tensor], Tensor] | None = None,
) -> tuple[SparseCode, SparseCode]:
    """Pre-activations of a batch, and the latents that ``select`` lets through.

    Args:
        rows_BD: normalised input.
        b_dec_D: subtracted from it, or None.
        select: pre-activations to activations, for example ``torch.relu``, or to a code; what it sets to zero is
            not active.
        latent_scale_F: multiplies the pre-activations before selection (decoder norms of a TopK SAE).
        add_noise: applied to the pre-activations before scaling and selection.

    Returns:
        the code, and the pre-activations that it was selected from.
    """
    z_BF = encode(rows_BD, b_dec_D, W_enc_DF, b_enc_F)
    if add_noise is not None:
        z_BF = add_noise(z_BF)
    if latent_scale_F is not None:
        z_BF = z_BF * latent_scale_F
    selected = select(z_BF)
    return selected if isinstance(selected, SparseCode) else SparseCode(selected), SparseCode(z_BF)


def encode(rows_BD: Tensor, b_dec_D: Tensor | None, W_enc_DF: Tensor, b_F: Tensor) -> Tensor:
    """All pre-activations ``(rows - b_dec) · W_enc + b``: ``[B, F]``. ``b_dec`` is left out where it is None."""
    return Encode.apply(rows_BD, b_dec_D, W_enc_DF, b_F)  # type: ignore[return-value]


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
