"""The linear layers of a frozen model, on the faster of the two libraries that torch has for them on a CPU."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from pyworker.kernels.product import linear


class FrozenLinear(nn.Linear):
    """A layer that is only ever read; anything but plain float32 on a CPU is computed as it was."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        if (
            torch.is_grad_enabled()
            or torch.is_autocast_enabled(input.device.type)
            or torch.compiler.is_compiling()
        ):
            return super().forward(input)
        return linear(input, self.weight, self.bias)


def freeze_linear_layers(model: nn.Module) -> None:
    """Let every plain linear layer of a model be a :class:`FrozenLinear`, in place."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FrozenLinear
