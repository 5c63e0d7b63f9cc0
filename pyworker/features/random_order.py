"""An order that looks random and is the same at every call: the mixing of splitmix64.

Legend: N any number of things.
"""

import torch
from torch import Tensor


def random_order(seed: int, *number_N: Tensor) -> Tensor:
    """A number of 63 bits for each thing, int64, from the seed and the numbers that name it."""
    x = mixed(torch.tensor(seed, device=number_N[0].device))
    for one_N in number_N:
        x = mixed(x + one_N)
    return x & (2**63 - 1)


def mixed(x: Tensor) -> Tensor:
    """A step of splitmix64."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def _shifted(x: Tensor, by: int) -> Tensor:
    """To the right, zeros from the left: torch's own shift keeps the sign."""
    return (x >> by) & (2 ** (64 - by) - 1)
