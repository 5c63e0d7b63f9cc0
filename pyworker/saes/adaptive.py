"""The choice of kernels where the number of active latents moves: half of all at the start, few at the end.

Legend: B batch, D d_in, F d_sae, N some latents.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from pyworker.kernels import INDEXED_DTYPES, SparseCode, encode, encode_above
from pyworker.saes.training import StepInput, StepOutput, TrainingSAE

PAYS_BELOW, PAYS_NO_MORE = 0.10, 0.15
"""Density below which work by index is faster, and above which it is given up again; measured on a CPU."""
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
        self.adapts = (
            training_cfg.kernels == "auto"
            and self.has_bounds()
            and training_cfg.noise_scale == 0
            and training_cfg.dtype in INDEXED_DTYPES
            and torch.device(training_cfg.device).type == "cpu"
        )
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
    def prepare_to_compile(self) -> None:
        self.by_index = self.adapts = False

    @override
    def progress(self) -> dict[str, Any]:
        choice = {"by_index": self.by_index, "steps_for_change": self._steps_for_change}
        return {**super().progress(), **choice}

    @override
    def restore(self, progress: dict[str, Any]) -> None:
        super().restore(progress)
        self.by_index, self._steps_for_change = progress["by_index"], progress["steps_for_change"]

    @override
    def training_forward(self, step: StepInput) -> StepOutput:
        output = super().training_forward(step)
        if self.adapts:
            self._adapt(self._density(output.pre))
        return output

    def _adapt(self, density: float) -> None:
        wants_change = density > PAYS_NO_MORE if self.by_index else density < PAYS_BELOW
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
