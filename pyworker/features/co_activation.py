"""Which latents are active on the same tokens.

Counted on every token of the text, or, where those are too many, on every second, fourth, eighth …: as many as keep
memory and time bounded.

Legend: F latents, R rows of a block, N entries, T tokens, M pairs, K neighbours.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyworker.features.entries import Entries

MOST_ENTRIES = 2**22
"""8 bytes each."""
MOST_PAIRS = 2**28
"""The sum of L0² over the tokens: a pair takes about 30 ns on one core."""
PAIRS_AT_ONCE = 2**20
COUNTS_AT_ONCE = 2**20
LEAST_TOGETHER = 3
"""Two latents that were active together less often are not called neighbours: once may be chance."""


class CoActivation:
    """Collects entries of evenly spread tokens.

    Args:
        n_latents: F, all of the SAE.

    Attributes:
        n_tokens: T, on how many tokens it is counted.
    """

    def __init__(self, n_latents: int):
        self.n_latents, self.n_tokens = n_latents, 0
        self._seen, self._stride, self._n_entries, self._n_pairs = 0, 1, 0, 0
        self._parts: list[tuple[Tensor, Tensor]] = []

    def add(self, entries: Entries, counted_T: Tensor) -> None:
        """A batch.

        Args:
            entries: of all latents.
            counted_T: False for tokens that are left out: they have no number.
        """
        number_T = torch.cumsum(counted_T, 0) - 1 + self._seen
        self._seen += int(counted_T.sum())
        number_N = number_T[entries.token_N]
        self._take(number_N, entries.latent_N)
        # Of one token on which very many latents are active there is no half.
        while (self._n_entries > MOST_ENTRIES or self._n_pairs > MOST_PAIRS) and self._stride < self._seen:
            self._stride *= 2
            parts, self._parts, self._n_entries, self._n_pairs = self._parts, [], 0, 0
            for number_M, latent_M in parts:
                self._take(number_M, latent_M)
        self.n_tokens = -(-self._seen // self._stride)

    def _take(self, number_N: Tensor, latent_N: Tensor) -> None:
        kept_M = (number_N % self._stride == 0).nonzero().squeeze(-1)
        number_M = number_N[kept_M].int()
        _, l0_T = torch.unique(number_M, return_counts=True)
        self._n_entries += len(number_M)
        self._n_pairs += int((l0_T * l0_T).sum())
        self._parts.append((number_M, latent_N[kept_M].int()))

    def strongest(self, wanted_R: Tensor, k: int) -> Iterator[list[tuple[int, float]]]:
        """Of each wanted latent the ``k`` others whose being active correlates most with its own: the phi coefficient.

        Args:
            wanted_R: numbers of latents.
            k: at most so many of each; only those that are together more often than by chance.
        """
        if not self._parts:
            yield from ([] for _ in wanted_R)
            return
        number_N = torch.cat([number for number, _ in self._parts])
        latent_N = torch.cat([latent for _, latent in self._parts])
        by_token = torch.argsort(number_N, stable=True)
        partner_N = latent_N[by_token]  # latent after latent of each token
        _, row_N, l0_T = torch.unique_consecutive(number_N[by_token], return_inverse=True, return_counts=True)
        start_T = torch.cumsum(l0_T, 0) - l0_T
        by_latent = torch.argsort(partner_N, stable=True)
        row_N = row_N[by_latent]
        n_F = torch.bincount(partner_N, minlength=self.n_latents)
        first_F = torch.cumsum(n_F, 0) - n_F
        for block_R in wanted_R.split(max(1, COUNTS_AT_ONCE // self.n_latents)):
            counts_RF = self._together(block_R, row_N, start_T, l0_T, partner_N, first_F, n_F)
            yield from self._best(block_R, counts_RF, n_F, k)

    def _together(
        self,
        block_R: Tensor,
        row_N: Tensor,
        start_T: Tensor,
        l0_T: Tensor,
        partner_N: Tensor,
        first_F: Tensor,
        n_F: Tensor,
    ) -> Tensor:
        """On how many tokens each of a block and each of all latents are active together: int64 ``[R, F]``."""
        counts = torch.zeros(len(block_R) * self.n_latents, dtype=torch.int64, device=row_N.device)
        of_M = torch.repeat_interleave(torch.arange(len(block_R), device=row_N.device), n_F[block_R])
        inside_M = torch.arange(len(of_M), device=row_N.device) - _starts(n_F[block_R])[of_M]
        token_M = row_N[first_F[block_R][of_M] + inside_M]
        ends_M = torch.cumsum(l0_T[token_M], 0)
        begin, done = 0, 0
        while begin < len(token_M):
            end = int(torch.searchsorted(ends_M, done + PAIRS_AT_ONCE, right=True))
            end = max(end, begin + 1)
            token_B, of_B = token_M[begin:end], of_M[begin:end]
            l0_B = l0_T[token_B]
            entry_Q = torch.repeat_interleave(torch.arange(len(token_B), device=row_N.device), l0_B)
            inside_Q = torch.arange(len(entry_Q), device=row_N.device) - _starts(l0_B)[entry_Q]
            partner_Q = partner_N[start_T[token_B][entry_Q] + inside_Q].long()
            place_Q = of_B[entry_Q] * self.n_latents + partner_Q
            counts.index_add_(0, place_Q, torch.ones_like(place_Q))
            begin, done = end, int(ends_M[end - 1])
        return counts.view(len(block_R), self.n_latents)

    def _best(self, block_R: Tensor, counts_RF: Tensor, n_F: Tensor, k: int) -> list[list[tuple[int, float]]]:
        counts_RF[torch.arange(len(block_R), device=block_R.device), block_R] = 0  # itself
        row_M, other_M = (counts_RF >= LEAST_TOGETHER).nonzero(as_tuple=True)
        together_M = counts_RF[row_M, other_M].double()
        one_M, two_M, n = n_F[block_R[row_M]].double(), n_F[other_M].double(), float(self.n_tokens)
        phi_M = (n * together_M - one_M * two_M) / (one_M * (n - one_M) * two_M * (n - two_M)).sqrt()
        phi_RF = torch.full(counts_RF.shape, -torch.inf, device=counts_RF.device)
        phi_RF[row_M, other_M] = phi_M.nan_to_num(-torch.inf, neginf=-torch.inf).float()
        best = phi_RF.topk(min(k, self.n_latents), dim=1)
        return [
            [(i, v) for i, v in zip(index, value, strict=True) if v > 0]
            for index, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]


def _starts(lengths: Tensor) -> Tensor:
    return torch.cumsum(lengths, 0) - lengths
