"""The choice of kernels where the number of active latents moves: half of all at the start, few at the end.

Legend: B batch, D d_in, F d_sae, N some latents.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from pyworker.kernels import INDEXED_DTYPES, SparseCode, encode, encode_above
from pyworker.saes.training import StepInput, StepOutput, TrainingSAE

PAYS_UP_TO = 0.125
"""Density up to which work by index is faster; measured on a CPU, for whoever does not measure his own."""
LESS, MORE = 0.8, 1.2
"""Times that density: below the one the kernels change to those by index, above the other they change back."""
TRIED_DENSITIES = 0.02, 0.2
"""The time of work by index goes up with the density in a straight line: two points are enough."""
AGREEING_STEPS = 10
"""So many steps in a row must say the same before the kernels change."""
SAMPLE_ROWS = 64
"""Dense steps are counted on their first rows."""


class AdaptiveTrainingSAE(TrainingSAE):
    """Works dense while dense, by index once the measured density makes it pay (``kernels``).

    The choice depends on the numbers of the run alone, so that a run repeats.
    """

    def __init__(self, training_cfg: Any, generator: Generator):
        super().__init__(training_cfg, generator)
        self.by_index = training_cfg.kernels == "sparse"
        chooses = training_cfg.kernels == "auto" and torch.device(training_cfg.device).type == "cpu"
        self.adapts = (
            (chooses or training_cfg.kernels == "measured")
            and self.has_bounds()
            and training_cfg.noise_scale == 0
            and training_cfg.dtype in INDEXED_DTYPES
        )
        self._pays_up_to = PAYS_UP_TO
        self._steps_for_change = 0

    # -- what an architecture defines ------------------------------------------------------------------------

    def has_bounds(self) -> bool:
        """Whether latents below a bound take no part in anything, so that there is work by index at all."""
        return True

    def bounds(self) -> Tensor | None:
        """The bound of each latent: pre-activations at or below it may be left aside. ``[F]``; None for 0."""
        return None

    # -- the choice ------------------------------------------------------------------------------------------

    @override
    def kernels(self) -> str:
        return "sparse" if self.by_index else "dense"

    @override
    def try_kernels(self, timed_step: Callable[[], tuple[float, StepOutput]]) -> dict[str, float]:
        self.adapts = self.by_index = False
        dense_s, _ = timed_step()
        self.by_index = True
        length_F, offset_F = self.W_enc.detach().norm(dim=0), getattr(self, "b_enc", None)
        tried = []
        for (
            density
        ) in TRIED_DENSITIES:  # of pre-activations of rows that are drawn from the normal distribution
            bound_F = -torch.special.ndtri(torch.tensor(density)).item() * length_F
            bound_F = bound_F if offset_F is None else bound_F + offset_F.detach()
            self.bounds = lambda bound_F=bound_F: bound_F  # type: ignore[method-assign]
            seconds, output = timed_step()
            tried.append((self._density(output.pre), seconds))
        (low, low_s), (high, high_s) = tried
        slope = (high_s - low_s) / (high - low)
        up_to = low + (dense_s - low_s) / slope if slope > 0 else float(low_s < dense_s)
        return {"dense_s": dense_s, "sparse_s": low_s, "pays_up_to": min(max(up_to, 0.0), 1.0)}

    @override
    def choose_kernels(self, timing: dict[str, float]) -> None:
        self._pays_up_to = timing["pays_up_to"]

    @override
    def prepare_to_compile(self) -> None:
        self.by_index = self.adapts = False

    @override
    def progress(self) -> dict[str, Any]:
        choice = {
            "by_index": self.by_index,
            "steps_for_change": self._steps_for_change,
            "pays_up_to": self._pays_up_to,
        }
        return {**super().progress(), **choice}

    @override
    def restore(self, progress: dict[str, Any]) -> None:
        super().restore(progress)
        self.by_index, self._steps_for_change = progress["by_index"], progress["steps_for_change"]
        self._pays_up_to = progress["pays_up_to"]

    @override
    def training_forward(self, step: StepInput) -> StepOutput:
        output = super().training_forward(step)
        if self.adapts:
            self._adapt(self._density(output.pre))
        return output

    def _adapt(self, density: float) -> None:
        more, less = MORE * self._pays_up_to, LESS * self._pays_up_to
        wants_change = density > more if self.by_index else density < less
        self._steps_for_change = self._steps_for_change + 1 if wants_change else 0
        if self._steps_for_change == AGREEING_STEPS:
            self.by_index, self._steps_for_change = not self.by_index, 0

    def _density(self, pre: SparseCode | None) -> float:
        """The share of latents above their bound."""
        assert pre is not None
        z_BF = pre.matrix()
        if z_BF is None:
            return pre.values.numel() / (len(pre.l0()) * self.cfg.d_sae)
        bound_F = self.bounds()
        return (z_BF[:SAMPLE_ROWS] > (0 if bound_F is None else bound_F)).float().mean().item()

    # -- pre-activations, in the form that was chosen --------------------------------------------------------

    def pre_activations(self, rows_BD: Tensor, b_F: Tensor) -> SparseCode:
        """``rows_c · W_enc + b``: all, or those above their bound."""
        if self.by_index and self.training:
            return encode_above(rows_BD, self.b_dec_in, self.W_enc, b_F, self.bounds())
        return SparseCode(self.add_noise(encode(rows_BD, self.b_dec_in, self.W_enc, b_F)))
