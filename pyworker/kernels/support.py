"""Where a sparse matrix of latents has its entries, and the products that only look there.

On a CPU they are made of what torch ships, on a GPU of :mod:`pyworker.kernels.triton_kernels`.

Legend: B rows, D d_in, F d_sae, N entries.
"""

import warnings
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

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
        self.row_N, self.latent_N = row_N.contiguous(), latent_N.contiguous()
        self.n_rows, self.n_latents = n_rows, n_latents

    @classmethod
    def of_rows(cls, indices_BK: Tensor, n_latents: int) -> "Support":
        """The same number of latents in each row."""
        n_rows, k = indices_BK.shape
        row_N = torch.arange(n_rows, device=indices_BK.device).repeat_interleave(k)
        return cls(row_N, indices_BK.flatten(), n_rows, n_latents)

    def weighted_rows(self, values_N: Tensor, W_FD: Tensor) -> Tensor:
        """For each row the weighted sum ``[B, D]`` of what its latents have in W."""
        gpu = gpu_kernels(W_FD)
        if gpu:
            return gpu.weighted_rows(self.row_starts, self.latent_N, values_N, W_FD)
        return _bags(self.latent_N, W_FD, self.row_starts, values_N)

    def products(self, rows_BD: Tensor, W_FD: Tensor) -> Tensor:
        """``⟨rows[b], W[f]⟩`` of each pair: ``[N]``. Latent by latent: each row of W is read once."""
        starts_F1, row_N, order_N = self.by_latent
        gpu = gpu_kernels(rows_BD)
        if gpu:
            return gpu.products(self.by_latent, rows_BD, W_FD)
        zeros_N = rows_BD.new_zeros(len(row_N))
        shape = (self.n_latents, self.n_rows)
        zeros_FB = torch.sparse_csr_tensor(starts_F1, row_N, zeros_N, shape, check_invariants=False)
        sampled_FB = torch.sparse.sampled_addmm(zeros_FB, W_FD, rows_BD.t(), beta=0.0)
        return torch.empty_like(zeros_N).index_copy_(0, order_N, sampled_FB.values())

    def sums(self, values_N: Tensor, rows_BD: Tensor) -> Tensor:
        """For each latent the weighted sum ``[F, D]`` of its rows, in their order, so that it repeats bit for bit."""
        starts_F1, row_N, order_N = self.by_latent
        gpu = gpu_kernels(rows_BD)
        if gpu:
            return gpu.sums(self.by_latent, values_N, rows_BD)
        return _bags(row_N, rows_BD, starts_F1, values_N[order_N])

    def products_and_sums(self, values_N: Tensor, rows_BD: Tensor, W_FD: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`products` and :meth:`sums`: the gradients of :meth:`weighted_rows`, of which a GPU makes one pass."""
        gpu = gpu_kernels(rows_BD)
        if gpu:
            return gpu.products_and_sums(self.by_latent, values_N, rows_BD, W_FD)
        return self.products(rows_BD, W_FD), self.sums(values_N, rows_BD)

    def totals(self, values_N: Tensor) -> Tensor:
        """For each latent the sum ``[F]`` of its values, in the order of the rows."""
        gpu = gpu_kernels(values_N)
        if gpu:
            return gpu.totals(self.by_latent, values_N)
        return values_N.new_zeros(self.n_latents).index_add_(0, self.latent_N, values_N)

    @cached_property
    def row_starts(self) -> Tensor:
        """Where the pairs of each row begin, and the end: ``[B + 1]``."""
        return _starts(self.row_N, self.n_rows)

    @cached_property
    def by_latent(self) -> tuple[Tensor, Tensor, Tensor]:
        """The entries sorted by latent, rows ascending: where each latent's begin ``[F + 1]``, their rows ``[N]``, and
        their places among the pairs ``[N]``."""
        latent_N, order_N = torch.sort(self.latent_N, stable=True)
        return _starts(latent_N, self.n_latents), self.row_N[order_N], order_N


def _starts(sorted_N: Tensor, n: int) -> Tensor:
    """Where each of the numbers below ``n`` begins, and the end: ``[n + 1]``. Counting them would wait for a GPU."""
    return torch.searchsorted(sorted_N, torch.arange(n + 1, device=sorted_N.device))


def _bags(index_N: Tensor, rows: Tensor, starts: Tensor, weights_N: Tensor) -> Tensor:
    return functional.embedding_bag(
        index_N, rows, starts, mode="sum", per_sample_weights=weights_N, include_last_offset=True
    )


def gpu_kernels(tensor: Tensor) -> Any:
    """The module with the kernels for a tensor's device: None on a CPU, and where there is no Triton. torch's build for
    CUDA brings it on Linux; elsewhere torch's own operations do on a GPU what they do on a CPU."""
    return import_module("pyworker.kernels.triton_kernels") if tensor.is_cuda and has_triton() else None


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None
