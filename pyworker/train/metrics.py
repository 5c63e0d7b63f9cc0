"""The numbers of a logging step, fetched from the device at once.

Legend: B batch, D d_in, F d_sae.
"""

import torch
from torch import Tensor

from pyworker.saes import StepOutput
from pyworker.train.dead_latents import FiringStatistics


@torch.no_grad()
def step_metrics(x_BD: Tensor, output: StepOutput, firing: FiringStatistics) -> dict[str, float]:
    """Losses (coefficients included), reconstruction and sparsity of one batch, under SAELens' names
    (§4.3)."""
    x_BD = x_BD.float()
    error_B = (output.reconstruction_BD.float() - x_BD).square().sum(dim=-1)
    spread_B = (x_BD - x_BD.mean(dim=0)).square().sum(dim=-1)
    explained_B = 1 - error_B / spread_B
    scalars = {
        "losses/overall_loss": output.loss,
        **{f"losses/{name}": value for name, value in output.losses.items()},
        "metrics/explained_variance": 1 - error_B.mean() / spread_B.mean(),
        "metrics/explained_variance_legacy": explained_B.mean(),
        "metrics/explained_variance_legacy_std": explained_B.std(),
        "metrics/l0": output.code.l0().float().mean(),
        **{f"metrics/{name}": value for name, value in output.metrics.items()},
        "sparsity/mean_passes_since_fired": firing.steps_since_fired_F.float().mean(),
        "sparsity/dead_features": firing.dead().sum(),
    }
    values = torch.stack([value.detach().double() for value in scalars.values()]).tolist()
    return dict(zip(scalars, values, strict=True))


@torch.no_grad()
def sparsity_metrics(firing: FiringStatistics) -> tuple[dict[str, float], Tensor]:
    """The row of a full sampling window, and the data of its histogram."""
    frequencies_F, log10_F = firing.frequencies(), firing.log10_sparsity()
    row = {
        "metrics/mean_log10_feature_sparsity": log10_F.mean().item(),
        "sparsity/below_1e-5": (frequencies_F < 1e-5).sum().item(),
        "sparsity/below_1e-6": (frequencies_F < 1e-6).sum().item(),
    }
    return row, log10_F
