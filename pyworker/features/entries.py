"""The active latents of a batch of whole sequences, by index.

Legend: P sequences, C context, T = P·C tokens, N entries, F latents that are looked at, W tokens of a window.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pyworker.kernels.row_blocks import row_blocks
from pyworker.saes.base import SAE

MOST_ENTRIES = 2**19
"""Of a part. To merge one takes up to 400 bytes: 200 MB."""


@dataclass(frozen=True)
class Entries:
    """One entry for each token and latent that is active on it, in the order of latents, then of tokens.

    Attributes:
        latent_N, token_N: int64; tokens are numbered through the batch, sequence after sequence.
        value_N: float32, above zero.
        context: C.
        n_tokens: T.
    """

    latent_N: Tensor
    token_N: Tensor
    value_N: Tensor
    context: int
    n_tokens: int

    @cached_property
    def key_N(self) -> Tensor:
        """Latent and token as one number, rising."""
        return self.latent_N * self.n_tokens + self.token_N

    def values_at(self, latent_Q: Tensor, token_QW: Tensor) -> Tensor:
        """The values of latents at tokens, 0 where they are not active: ``[Q, W]``."""
        if len(self.key_N) == 0:
            return torch.zeros(token_QW.shape, device=token_QW.device)
        key_QW = latent_Q[:, None] * self.n_tokens + token_QW
        place_QW = torch.searchsorted(self.key_N, key_QW).clamp(max=len(self.key_N) - 1)
        return torch.where(self.key_N[place_QW] == key_QW, self.value_N[place_QW], 0.0)

    def peaks(self) -> tuple[Tensor, Tensor]:
        """Of each latent and each sequence in which it is active, the first entry with the largest value.

        Returns:
            the numbers of these entries, in the order of latents, then of sequences; and the latent of each.
        """
        # A sequence does not cross latents: T is a multiple of C.
        group_N = torch.div(self.key_N, self.context, rounding_mode="floor")
        _, number_N = torch.unique_consecutive(group_N, return_inverse=True)
        n_groups = int(number_N[-1]) + 1 if len(number_N) else 0
        largest_G = self.value_N.new_zeros(n_groups).scatter_reduce(0, number_N, self.value_N, "amax")
        at_M = (self.value_N == largest_G[number_N]).nonzero().squeeze(-1)
        first_G = torch.full((n_groups,), len(self.value_N), device=at_M.device)
        first_G = first_G.scatter_reduce(0, number_N[at_M], at_M, "amin")
        return first_G, self.latent_N[first_G]


@torch.no_grad()
def entries_of(
    sae: SAE,
    x_PCD: Tensor,
    counted_T: Tensor,
    number_of_F: Tensor,
    see: Callable[[Tensor, Tensor], None],
) -> Iterator[Entries]:
    """Encode some sequences, a few rows at a time: no matrix of all tokens and latents is ever there.

    Where the entries are more than MOST_ENTRIES, those of the first latents come first, then those of others, and all
    is encoded anew for each of these parts.

    Args:
        sae: in evaluation mode, on whose device the entries are.
        x_PCD: activations.
        counted_T: False for tokens that are left out.
        number_of_F: for each latent of the SAE its number among those that are looked at, rising, or -1.
        see: gets tokens and latents of all entries, also of latents that are not looked at, token after token.
    """
    rows_TD = x_PCD.flatten(0, 1).to(sae.W_dec.device)
    first, n_latents = 0, int(number_of_F.max()) + 1
    while first < n_latents:
        held = _Held(first, n_latents)
        for token_N, latent_N, value_N in _active(sae, rows_TD, counted_T):
            if first == 0:
                see(token_N, latent_N)
            held.add(number_of_F[latent_N], token_N, value_N)
        latent_N, token_N, value_N = held.all()
        order_N = torch.argsort(latent_N * len(rows_TD) + token_N)
        yield Entries(latent_N[order_N], token_N[order_N], value_N[order_N], x_PCD.shape[1], len(rows_TD))
        first = held.last


def _active(sae: SAE, rows_TD: Tensor, counted_T: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Token, latent and value of the entries of some tokens after the other."""
    for rows in row_blocks(rows_TD, sae.cfg.d_sae, sae.W_dec.element_size()):
        prepared_BD, _ = sae.prepare(rows_TD[rows])
        code_BF = sae.encode_rows(prepared_BD)[0].dense()
        active_BF = (code_BF > 0) & counted_T[rows, None]
        n_entries = max(1, int(active_BF.sum()))
        n_together = max(1, len(active_BF) * MOST_ENTRIES // n_entries)
        for begin in range(0, len(active_BF), n_together):
            row_N, latent_N = active_BF[begin : begin + n_together].nonzero(as_tuple=True)
            row_N = row_N + begin
            yield row_N + rows.start, latent_N, code_BF[row_N, latent_N].float()


class _Held:
    """Entries of the latents from ``first`` to before ``last``, which comes down when they are too many."""

    def __init__(self, first: int, last: int):
        self.first, self.last = first, last
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self._n = 0

    def add(self, latent_N: Tensor, token_N: Tensor, value_N: Tensor) -> None:
        kept_M = ((latent_N >= self.first) & (latent_N < self.last)).nonzero().squeeze(-1)
        self._parts.append((latent_N[kept_M], token_N[kept_M], value_N[kept_M]))
        self._n += len(kept_M)
        if self._n > MOST_ENTRIES and self.last > self.first + 1:
            held, self._parts, self._n = self.all(), [], 0
            ends_F = torch.cumsum(torch.bincount(held[0] - self.first), 0)
            # Half, so that it does not come to this with every row.
            self.last = self.first + max(1, int((ends_F <= MOST_ENTRIES // 2).sum()))
            self.add(*held)

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latent, token and value, token after token."""
        latent, token, value = zip(*self._parts, strict=True)
        return torch.cat(latent), torch.cat(token), torch.cat(value)
