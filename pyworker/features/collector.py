"""One pass over text, and what is kept of it for each latent.

Legend: P sequences of a batch, C context, F latents that are looked at, N entries, S slots, W tokens of a window.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyworker.features.co_activation import CoActivation
from pyworker.features.entries import MOST_ENTRIES, Entries, entries_of
from pyworker.features.histogram import N_BINS, activation_bins
from pyworker.features.random_order import random_order
from pyworker.features.slots import Candidates, Slots
from pyworker.saes.base import SAE


@dataclass(frozen=True)
class Examples:
    """How many examples there are of a latent, and how much text is around each.

    Attributes:
        top: the sequences in which it is most active.
        n_ranges: ranges of activation, half an octave each, from that of the maximum down; the last has all below.
        of_range: tokens of each, drawn at random.
        before, after: tokens around the peak.
    """

    top: int
    n_ranges: int
    of_range: int
    before: int
    after: int


class Collected:
    """What is known of some latents of an SAE after the batches so far.

    Args:
        wanted_F: their numbers in the SAE, rising.
        n_latents: of the SAE.
        examples: how many.
        seed: of the random examples.

    Attributes:
        n_tokens: that were counted.
        n_excluded: that were not.
        n_active_F, n_sequences_F: tokens and sequences in which each is active.
        max_F, sum_F: of the activations, float32 and float64.
        bins_FH: how many activations are in each bin of :mod:`pyworker.features.histogram`.
        top, sampled: examples.
        co_activation: of all latents of the SAE.
        n_entries: how many activations above zero there were, of those latents.
    """

    def __init__(self, wanted_F: Tensor, n_latents: int, examples: Examples, seed: int):
        device, n_wanted = wanted_F.device, len(wanted_F)
        self.wanted_F, self.examples, self.seed = wanted_F, examples, seed
        self._number_of = torch.full((n_latents,), -1, device=device)
        self._number_of[wanted_F] = torch.arange(n_wanted, device=device)
        self.n_tokens, self.n_excluded, self.n_sequences, self.n_entries = 0, 0, 0, 0
        self.n_active_F = torch.zeros(n_wanted, dtype=torch.int64, device=device)
        self.n_sequences_F = torch.zeros(n_wanted, dtype=torch.int64, device=device)
        self.max_F = torch.zeros(n_wanted, device=device)
        self.sum_F = torch.zeros(n_wanted, dtype=torch.float64, device=device)
        self.bins_FH = torch.zeros(n_wanted, N_BINS, dtype=torch.int32, device=device)
        window = examples.before + 1 + examples.after
        self.top = Slots(n_wanted, 1, examples.top, window, torch.float32, device)
        self.sampled = Slots(n_wanted, examples.n_ranges, examples.of_range, window, torch.int64, device)
        self.co_activation = CoActivation(n_latents, seed, device)

    def add(self, sae: SAE, x_PCD: Tensor, counted_PC: Tensor) -> None:
        """Whole sequences.

        Args:
            sae: in evaluation mode.
            x_PCD: activations.
            counted_PC: False for tokens that are left out.
        """
        counted_T = counted_PC.flatten().to(self.max_F.device)
        first = self.n_sequences * counted_PC.shape[1]
        self.co_activation.count(counted_T.nonzero().squeeze(-1) + first)

        def see(token_N: Tensor, latent_N: Tensor) -> None:
            self.co_activation.add(token_N + first, latent_N)

        for entries in entries_of(sae, x_PCD, counted_T, self._number_of, see):
            self._add(entries)
        self.n_tokens += int(counted_T.sum())
        self.n_excluded += int((~counted_T).sum())
        self.n_sequences += len(counted_PC)

    def _add(self, entries: Entries) -> None:
        """All entries of some latents in the sequences that are being added."""
        latent_N, value_N = entries.latent_N, entries.value_N
        self.n_entries += len(value_N)
        self.n_active_F += torch.bincount(latent_N, minlength=len(self.max_F))
        self.sum_F.index_add_(0, latent_N, value_N.double())
        old_range_F = self.range_of_max()
        self.max_F.scatter_reduce_(0, latent_N, value_N, "amax")
        bin_N = activation_bins(value_N)
        counts = torch.bincount(latent_N * N_BINS + bin_N, minlength=self.bins_FH.numel())
        self.bins_FH += counts.view_as(self.bins_FH).int()
        self._add_top(entries)
        self._add_sampled(entries, bin_N, old_range_F)

    def range_of_max(self) -> Tensor:
        """The half octave of each latent's largest activation: int64 ``[F]``."""
        return half_octave(activation_bins(self.max_F))

    def _add_top(self, entries: Entries) -> None:
        at_G, latent_G = entries.peaks()
        self.n_sequences_F += torch.bincount(latent_G, minlength=len(self.max_F))
        zero_G = torch.zeros_like(latent_G)
        key_G = -entries.value_N[at_G]
        kept_M = (key_G < self.top.bound(latent_G, zero_G)).nonzero().squeeze(-1)
        new = self._candidates(entries, at_G[kept_M], key_G[kept_M])
        got = self.top.merge(new, lambda latent_N, _: torch.zeros_like(latent_N))
        self._fill_windows(self.top, entries, new, *got)

    def _add_sampled(self, entries: Entries, bin_N: Tensor, old_range_F: Tensor) -> None:
        last, range_F = self.sampled.n_strata - 1, self.range_of_max()

        def stratum_of(latent_M: Tensor, value_M: Tensor) -> Tensor:
            return (range_F[latent_M] - half_octave(activation_bins(value_M))).clamp(max=last)

        stratum_N = (range_F[entries.latent_N] - half_octave(bin_N)).clamp(max=last)
        token_N = entries.token_N + self.n_sequences * entries.context
        key_N = random_order(self.seed, self.wanted_F[entries.latent_N], token_N)
        # A larger maximum moves what has a place to other ranges: then its bounds say nothing.
        is_moved_N = (range_F != old_range_F)[entries.latent_N]
        kept_M = (
            (is_moved_N | (key_N < self.sampled.bound(entries.latent_N, stratum_N))).nonzero().squeeze(-1)
        )
        new = self._candidates(entries, kept_M, key_N[kept_M])
        got = self.sampled.merge(new, stratum_of)
        self._fill_windows(self.sampled, entries, new, *got)

    def _candidates(self, entries: Entries, at_C: Tensor, key_C: Tensor) -> Candidates:
        token_C = entries.token_N[at_C]
        sequence_C = torch.div(token_C, entries.context, rounding_mode="floor")
        position_C = token_C - sequence_C * entries.context
        latent_C, value_C = entries.latent_N[at_C], entries.value_N[at_C]
        return Candidates(latent_C, sequence_C + self.n_sequences, position_C, value_C, key_C, token_C)

    def _fill_windows(
        self,
        slots: Slots,
        entries: Entries,
        new: Candidates,
        latent_K: Tensor,
        slot_K: Tensor,
        from_K: Tensor,
    ) -> None:
        around_W = torch.arange(-self.examples.before, self.examples.after + 1, device=latent_K.device)
        position_KW = new.position_C[from_K][:, None] + around_W
        is_inside_KW = (position_KW >= 0) & (position_KW < entries.context)
        token_KW = (new.token_C[from_K][:, None] + around_W).clamp(0, entries.n_tokens - 1)
        value_KW = entries.values_at(latent_K, token_KW)
        slots.window_FSW[latent_K, slot_K] = torch.where(is_inside_KW, value_KW, 0.0)


@torch.no_grad()
def collect(
    sae: SAE,
    activations: Callable[[Tensor], Tensor],
    token_batches: Iterable[Tensor],
    excluded_ids: list[int],
    wanted_F: Tensor,
    examples: Examples,
    seed: int,
) -> Collected:
    """Read all batches once.

    Args:
        sae: in evaluation mode.
        activations: x_PCD of tokens_PC.
        token_batches: tokens_PC of whole sequences, all of one length.
        excluded_ids: tokens that are left out; they count as not active.
        wanted_F: numbers of the latents to look at, rising.
        examples: how many.
        seed: of the random ones.
    """
    device = sae.W_dec.device
    collected = Collected(wanted_F.to(device), sae.cfg.d_sae, examples, seed)
    excluded = torch.tensor(excluded_ids, dtype=torch.int64)
    # As many sequences at a time as are expected, by the density so far, to have half of the entries that are held at
    # once: so that others may be denser.
    n_together = 1
    for tokens_PC in token_batches:
        counted_PC, x_PCD = ~torch.isin(tokens_PC, excluded), activations(tokens_PC)
        begin = 0
        while begin < len(x_PCD):
            end = begin + n_together
            collected.add(sae, x_PCD[begin:end], counted_PC[begin:end])
            begin = end
            n_together = MOST_ENTRIES * collected.n_sequences // (2 * collected.n_entries + 1)
            n_together = max(1, n_together)
    return collected


def half_octave(bin_N: Tensor) -> Tensor:
    """Two bins of a histogram of activations, four an octave, are one range."""
    return torch.div(bin_N + 1, 2, rounding_mode="floor")
