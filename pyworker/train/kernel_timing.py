"""Which kernels are faster here: forward and backward of an SAE, timed with both on rows that are drawn.

Legend: B batch, D d_in.
"""

import copy
from contextlib import nullcontext

import torch

from pyworker.profile import Profile
from pyworker.saes import StepInput, StepOutput, TrainingSAE

ROWS = 1024
"""Enough that a product fills a processor."""
RUNS = 3
"""The best counts: whatever else the machine does makes a run slower, never faster."""


def time_kernels(sae: TrainingSAE, coefficients: dict[str, float], autocast: bool) -> dict[str, float]:
    """Seconds of each way to work, in the words of :meth:`TrainingSAE.choose_kernels`. The SAE is left as it is: a copy
    is timed, before there are moments of Adam beside it.
    """
    trial = copy.deepcopy(sae).train()
    device = torch.device(sae.cfg.device)
    generator = torch.Generator(device).manual_seed(0)
    x_BD = torch.randn(ROWS, sae.cfg.d_in, generator=generator, dtype=trial.W_dec.dtype, device=device)
    nothing_F = torch.zeros(sae.cfg.d_sae, dtype=torch.bool, device=device)
    step = StepInput(x_BD, nothing_F, coefficients, nothing_F.nonzero().squeeze(-1))

    def timed_step() -> tuple[float, StepOutput]:
        seconds = []
        for _ in range(1 + RUNS):  # the first makes what later ones find
            clock = Profile(str(device))
            with clock.measured("step"):
                with torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext():
                    output = trial.training_forward(step)
                output.loss.backward()
            seconds.append(clock.parts["step"].seconds)
            trial.zero_grad()
        return min(seconds[1:]), output

    return trial.try_kernels(timed_step)
