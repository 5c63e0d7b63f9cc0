"""Which latents are active on the same tokens.

Counted on every token of the text, or, where those are too many, on a random half, quarter, eighth …: as many as keep
memory and time bounded.

Legend: F latents, R rows of a block, N entries, T tokens, L levels, M pairs, K neighbours.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyworker.features.random_order import random_order

MOST_ENTRIES = 2**22
"""8 bytes each: 34 MB."""
MOST_PAIRS = 2**28
"""The sum of L0² over the tokens: a pair takes about 30 ns on one core."""
LEVELS = 63
PAIRS_AT_ONCE = 2**20
COUNTS_AT_ONCE = 2**20
LEAST_TOGETHER = 3
"""Two latents that were active together less often are not called neighbours: once may be chance."""


class CoActivation:
    """Collects entries of tokens that are drawn at random.

    A token has a level, the number of zeros at the end of its number in a random order: half of the tokens have none, a
    quarter one. Those below a level are left out, and when what is kept gets too large, the level rises. So the sample
    does not depend on how the text is cut, and no place of the sequences is left out of it.

    Args:
        n_latents: F, all of the SAE.
        seed: of the sample.
        device: of the entries.
    """

    def __init__(self, n_latents: int, seed: int, device: torch.device):
        self.n_latents, self.seed = n_latents, seed
        self._level, self._n_pairs, self._n_entries = 0, 0, 0
        self._n_tokens_L = torch.zeros(LEVELS, dtype=torch.int64)
        # One place from the beginning: small tensors that stay, among large ones that go, would tear the heap.
        self._entries_2N = torch.empty(2, MOST_ENTRIES, dtype=torch.int32, device=device)

    @property
    def n_tokens(self) -> int:
        """On how many tokens it is counted."""
        return int(self._n_tokens_L[self._level :].sum())

    def count(self, number_T: Tensor) -> None:
        """Tokens of which the entries are added then, by their numbers in the text."""
        self._n_tokens_L += torch.bincount(self._level_of(number_T), minlength=LEVELS).cpu()

    def add(self, number_N: Tensor, latent_N: Tensor) -> None:
        """Entries of whole tokens.

        Args:
            number_N: of their tokens in the text, rising, from one call to the next too.
            latent_N: of all latents.
        """
        added_2N = self._sampled(torch.stack([number_N, latent_N]).int())
        while self._n_entries + added_2N.shape[1] > MOST_ENTRIES or (
            self._n_pairs + _n_pairs(added_2N) > MOST_PAIRS
        ):
            self._level += 1
            kept_2N = self._sampled(self._entries_2N[:, : self._n_entries])
            self._n_entries = self._n_pairs = 0
            self._hold(kept_2N)
            added_2N = self._sampled(added_2N)
        self._hold(added_2N)

    def _sampled(self, entries_2N: Tensor) -> Tensor:
        if self._level == 0:
            return entries_2N
        return entries_2N[:, self._level_of(entries_2N[0]) >= self._level]

    def _hold(self, entries_2N: Tensor) -> None:
        end = self._n_entries + entries_2N.shape[1]
        self._entries_2N[:, self._n_entries : end] = entries_2N
        self._n_entries, self._n_pairs = end, self._n_pairs + _n_pairs(entries_2N)

    def _level_of(self, number_T: Tensor) -> Tensor:
        x_T = random_order(self.seed, number_T.long()) | 2 ** (LEVELS - 1)
        return torch.log2((x_T & -x_T).double()).long()

    def strongest(self, wanted_R: Tensor, k: int) -> Iterator[list[tuple[int, float]]]:
        """Of each wanted latent the ``k`` others whose being active correlates most with its own: the phi coefficient.

        Args:
            wanted_R: numbers of latents.
            k: at most so many of each; only those that are together more often than by chance.
        """
        if self._n_entries == 0:
            yield from ([] for _ in wanted_R)
            return
        number_N, partner_N = self._entries_2N[:, : self._n_entries]
        _, row_N, l0_T = torch.unique_consecutive(number_N, return_inverse=True, return_counts=True)
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


def _n_pairs(entries_2N: Tensor) -> int:
    _, l0_T = torch.unique_consecutive(entries_2N[0], return_counts=True)
    return int((l0_T * l0_T).sum())


def _starts(lengths: Tensor) -> Tensor:
    return torch.cumsum(lengths, 0) - lengths
