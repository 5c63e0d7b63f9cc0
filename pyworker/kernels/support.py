"""Where a sparse matrix of latents has its entries, and the two products that only look there.

Legend: B rows, D d_in, F d_sae, N entries.
"""

import warnings
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

# Said once a process, of a part of torch that has been there since 1.10.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


class Support:
    """Pairs of a row and a latent that is active in it.

    Args:
        row_N, latent_N: the pairs, int64, rows ascending, no pair twice.
        n_rows, n_latents: B and F.
    """

    def __init__(self, row_N: Tensor, latent_N: Tensor, n_rows: int, n_latents: int):
        self.row_N, self.latent_N, self.n_rows, self.n_latents = row_N, latent_N, n_rows, n_latents

    @classmethod
    def of_rows(cls, indices_BK: Tensor, n_latents: int) -> "Support":
        """The same number of latents in each row."""
        n_rows, k = indices_BK.shape
        row_N = torch.arange(n_rows, device=indices_BK.device).repeat_interleave(k)
        return cls(row_N, indices_BK.flatten(), n_rows, n_latents)

    def products(self, rows_BD: Tensor, W_FD: Tensor) -> Tensor:
        """``⟨rows[b], W[f]⟩`` of each pair: ``[N]``. Latent by latent: each row of W is read once."""
        starts_F1, row_N, order_N = self._by_latent
        zeros_N = rows_BD.new_zeros(len(row_N))
        shape = (self.n_latents, self.n_rows)
        zeros_FB = torch.sparse_csr_tensor(starts_F1, row_N, zeros_N, shape, check_invariants=False)
        sampled_FB = torch.sparse.sampled_addmm(zeros_FB, W_FD, rows_BD.t(), beta=0.0)
        return torch.empty_like(zeros_N).index_copy_(0, order_N, sampled_FB.values())

    def sums(self, values_N: Tensor, rows_BD: Tensor) -> Tensor:
        """For each latent the weighted sum ``[F, D]`` of its rows, in their order, so that it repeats bit for bit."""
        starts_F1, row_N, order_N = self._by_latent
        return functional.embedding_bag(
            row_N,
            rows_BD,
            starts_F1,
            mode="sum",
            per_sample_weights=values_N[order_N],
            include_last_offset=True,
        )

    @cached_property
    def _by_latent(self) -> tuple[Tensor, Tensor, Tensor]:
        order_N = torch.argsort(self.latent_N, stable=True)
        counts_F = torch.bincount(self.latent_N, minlength=self.n_latents)
        return functional.pad(counts_F.cumsum(0), (1, 0)), self.row_N[order_N], order_N
