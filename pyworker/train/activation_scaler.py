"""Normalisation estimated from data: applied to every batch while training, folded into the weights afterwards.

Legend: B batch, D d_in.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.protocol.sae_config import TrainingSAEConfig
from pyworker.saes import SAE

WHITENING_REGULARIZATION = 1e-3
"""Added to the eigenvalues of the covariance, so that a direction without variance is not blown up."""


@dataclass
class Whitening:
    """``(x - mean) @ matrix`` has unit covariance; ``inverse`` leads back. All float64."""

    mean_D: Tensor
    matrix_DD: Tensor
    inverse_DD: Tensor


class ActivationScaler:
    """Nothing, one factor, or a whitening, as ``normalize_activations`` says."""

    def __init__(self, factor: float | None = None, whitening: Whitening | None = None):
        self.factor = factor
        self.whitening = whitening

    def estimate(self, cfg: TrainingSAEConfig, batches: Iterator[Tensor]) -> None:
        """Take the statistics from all of ``batches``, unless they are already known.

        Raises:
            WorkerError: DATASET_EXHAUSTED, when there is not one batch; NOT_FINITE, when they have no scale.
        """
        if self.factor is not None or self.whitening is not None:
            return
        if cfg.normalize_activations == "expected_average_only_in":
            mean_norm = _mean_norm(_at_least_one(batches), by_batch=cfg.vocabulary == "v5")
            assert cfg.d_in is not None
            if not 0 < mean_norm < math.inf:
                raise _no_scale(f"their mean norm is {mean_norm}")
            self.factor = math.sqrt(cfg.d_in) / mean_norm
        elif cfg.normalize_activations == "covariance_whitening":
            self.whitening = _whitening(_at_least_one(batches))

    def __call__(self, x_BD: Tensor) -> Tensor:
        """Raw activations as the SAE in training sees them."""
        if self.factor is not None:
            return x_BD * self.factor
        if self.whitening is not None:
            w = self.whitening
            return (x_BD - w.mean_D.to(x_BD)) @ w.matrix_DD.to(x_BD)
        return x_BD

    def unscale(self, y_BD: Tensor) -> Tensor:
        """The way back."""
        if self.factor is not None:
            return y_BD / self.factor
        if self.whitening is not None:
            w = self.whitening
            return y_BD @ w.inverse_DD.to(y_BD) + w.mean_D.to(y_BD)
        return y_BD

    def fold_into(self, sae: SAE) -> None:
        """Make the SAE take raw activations. This scaler stays as it is."""
        if self.factor is not None:
            sae.fold_scaling_factor(self.factor)
        if self.whitening is not None:
            sae.fold_whitening(self.whitening.mean_D, self.whitening.matrix_DD, self.whitening.inverse_DD)

    def unfold_from(self, sae: SAE) -> None:
        """Make an SAE of raw activations take scaled ones: the way back of :meth:`fold_into`."""
        if self.factor is not None:
            sae.fold_scaling_factor(1 / self.factor)
        if self.whitening is not None:
            w = self.whitening
            sae.fold_whitening(-(w.mean_D @ w.matrix_DD), w.inverse_DD, w.matrix_DD)

    def state(self) -> dict[str, Any]:
        """The statistics, as far as there are any."""
        whitening = {} if self.whitening is None else vars(self.whitening)
        return {"factor": self.factor, **whitening}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the statistics of :meth:`state`."""
        tensors = {name: value for name, value in state.items() if name != "factor"}
        self.factor = state["factor"]
        self.whitening = Whitening(**tensors) if tensors else None

    def clear(self) -> None:
        """Forget the statistics: they have been folded."""
        self.factor = self.whitening = None


def _at_least_one(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    first_BD = next(batches, None)
    if first_BD is None:
        raise WorkerError(
            "DATASET_EXHAUSTED",
            "estimating the scale of the activations: there is not one batch",
            hint="give it more rows, or lower train_batch_size_tokens",
        )
    return chain((first_BD,), batches)


def _no_scale(why: str) -> WorkerError:
    return WorkerError(
        "NOT_FINITE",
        f"estimating the scale of the activations: {why}",
        hint="Look at the activations of this hook: the model's dtype may be too narrow for them.",
    )


def _mean_norm(batches: Iterator[Tensor], by_batch: bool) -> float:
    """The mean length of a row. v5 took the mean of the means of the batches (trap 14)."""
    total, count = 0.0, 0
    for batch_BD in batches:
        norms_B = _wide(batch_BD).norm(dim=-1)
        total += norms_B.mean().item() if by_batch else norms_B.sum().item()
        count += 1 if by_batch else norms_B.numel()
    return total / count


def _wide(x: Tensor) -> Tensor:
    """At least float32: in float16 a norm or a sum overflows long before the numbers it is made of."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _whitening(batches: Iterator[Tensor]) -> Whitening:
    """ZCA-free whitening by the eigenvectors of the covariance, all in float64."""
    count, sum_D, gram_DD = 0, None, None
    for batch_BD in batches:
        exact_BD = batch_BD.double()
        count += exact_BD.shape[0]
        sum_D = exact_BD.sum(dim=0) + (0 if sum_D is None else sum_D)
        gram_DD = exact_BD.T @ exact_BD + (0 if gram_DD is None else gram_DD)
    assert isinstance(sum_D, Tensor) and isinstance(gram_DD, Tensor)
    mean_D = sum_D / count
    covariance_DD = (gram_DD - count * torch.outer(mean_D, mean_D)) / max(count - 1, 1)
    if not torch.isfinite(covariance_DD).all():
        raise _no_scale("their covariance is not finite")
    values_D, vectors_DD = torch.linalg.eigh(covariance_DD)
    deviations_D = (values_D.clamp(min=0) + WHITENING_REGULARIZATION).sqrt()
    return Whitening(mean_D, vectors_DD / deviations_D, deviations_D[:, None] * vectors_DD.T)
