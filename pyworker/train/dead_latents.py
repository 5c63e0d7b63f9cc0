"""Which latents fire, how often, and which count as dead (reference §2.1).

Legend: B batch, F d_sae (latents), N dead latents.
"""

from typing import Any

import torch
from torch import Tensor

from pyworker.kernels import SparseCode
from pyworker.train.transfer import Transfer

SPARSITY_FLOOR = 1e-10
"""Keeps the logarithm of a frequency of zero finite; SAELens' files hold the same -10."""
COUNTS = ("steps_since_fired_F", "firings_F", "n_samples", "last_firings_F", "last_n_samples")
"""All that changes while training."""


class FiringStatistics:
    """Counts over the current sampling window, and how long ago each latent last fired.

    Args:
        dead_feature_window: a latent that has not fired for more than this many steps is dead.
        dead_feature_threshold: so is one whose firing frequency over the last full window and the current one is below
            this, once there has been a full window and both hold more than ``1 / dead_feature_threshold`` samples:
            fewer cannot tell such a frequency from silence, which is for ``dead_feature_window`` to judge.
    """

    def __init__(self, d_sae: int, device: str, dead_feature_window: int, dead_feature_threshold: float):
        self.dead_feature_window = dead_feature_window
        self.dead_feature_threshold = dead_feature_threshold
        self.steps_since_fired_F = torch.zeros(d_sae, dtype=torch.int64, device=device)
        self.firings_F = torch.zeros(d_sae, dtype=torch.int64, device=device)
        self.n_samples = 0
        self.last_firings_F = torch.zeros_like(self.firings_F)
        self.last_n_samples = 0
        self._number_dead()

    @torch.no_grad()
    def update(self, code: SparseCode, batch_size: int) -> None:
        """Count one batch."""
        counts_F = code.firing_counts()
        self.steps_since_fired_F += 1
        self.steps_since_fired_F.masked_fill_(counts_F > 0, 0)
        self.firings_F += counts_F
        self.n_samples += batch_size
        self._number_dead()

    def dead(self) -> Tensor:
        """bool ``[F]``; before the first window has passed nothing is rare, only silent."""
        silent_F = self.steps_since_fired_F > self.dead_feature_window
        n_samples = self.last_n_samples + self.n_samples
        if self.last_n_samples == 0 or n_samples * self.dead_feature_threshold <= 1:
            return silent_F
        frequency_F = (self.last_firings_F + self.firings_F) / n_samples
        return silent_F | (frequency_F < self.dead_feature_threshold)

    def start_window(self) -> None:
        """Close the current sampling window and open the next."""
        self.last_firings_F, self.last_n_samples = self.firings_F, self.n_samples
        self.firings_F = torch.zeros_like(self.firings_F)
        self.n_samples = 0
        self._number_dead()

    def dead_latents(self) -> Tensor:
        """The numbers ``[N]`` of those that were dead when last counted, ascending. How many they are was sent to the
        host then, so that it need not wait now."""
        n_dead = int(self._n_dead.get())
        return torch.nonzero_static(self._dead_F, size=n_dead).squeeze(-1)

    def _number_dead(self) -> None:
        self._dead_F = self.dead()
        self._n_dead = Transfer(self._dead_F.sum())

    def state(self) -> dict[str, Any]:
        """All counts."""
        return {name: getattr(self, name) for name in COUNTS}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the counts of :meth:`state`."""
        for name in COUNTS:
            value = state[name]
            setattr(self, name, value.to(self.firings_F.device) if isinstance(value, Tensor) else value)
        self._number_dead()

    def frequencies(self) -> Tensor:
        """The share of samples of the current window that each latent fired on: ``[F]``, NaN-free."""
        return self.firings_F.float() / max(self.n_samples, 1)

    def log10_sparsity(self) -> Tensor:
        """log10 of the frequencies, as ``sparsity.safetensors`` holds them."""
        return torch.log10(self.frequencies() + SPARSITY_FLOOR)
