"""Where ``b_dec`` starts: the middle of the activations (reference §1.6).

Legend: N rows, D d_in.
"""

from typing import Literal

import torch
from torch import Tensor

MAX_ROUNDS = 100
MIN_DISTANCE = 1e-6
RELATIVE_TOLERANCE = 1e-20


def initial_b_dec(method: Literal["zeros", "mean", "geometric_median"], rows_ND: Tensor) -> Tensor:
    """The starting value of ``b_dec`` for rows that look as the SAE will see them, scaled like the batches.

    Computed in float32 at least: sums over a whole buffer overflow float16, and bfloat16 loses them.
    """
    rows_ND = rows_ND.to(torch.promote_types(rows_ND.dtype, torch.float32))
    if method == "mean":
        return rows_ND.mean(dim=0)
    if method == "geometric_median":
        return geometric_median(rows_ND)
    return torch.zeros_like(rows_ND[0])


def geometric_median(rows_ND: Tensor) -> Tensor:
    """The point with the least sum of distances to all rows, by Weiszfeld's iteration from the mean.

    Stops when the sum repeats: in float32 that is after some 5 to 20 rounds.
    """
    median_D = rows_ND.mean(dim=0)
    distances_N = (rows_ND - median_D).norm(dim=1)
    objective = distances_N.sum()
    for _ in range(MAX_ROUNDS):
        weights_N = 1 / distances_N.clamp(min=MIN_DISTANCE)
        median_D = (weights_N @ rows_ND) / weights_N.sum()
        distances_N = (rows_ND - median_D).norm(dim=1)
        previous, objective = objective, distances_N.sum()
        if (previous - objective).abs() <= RELATIVE_TOLERANCE * objective:
            break
    return median_D
