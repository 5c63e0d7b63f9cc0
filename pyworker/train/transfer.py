"""A number that a device sends to the host while both go on."""

import torch
from torch import Tensor


class Transfer:
    """Sent when this is made: ``get`` waits for the work that came before, not for what was begun since.

    Args:
        value: one number, on any device.
    """

    def __init__(self, value: Tensor):
        self._value = value.detach().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if value.is_cuda else None
        if self._arrived is not None:
            self._arrived.record(torch.cuda.current_stream(value.device))

    def get(self) -> float | int | bool:
        """The number."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._value.item()
