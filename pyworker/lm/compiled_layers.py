"""A model compiled layer by layer, with hooks outside the compiled code: inside it a hook would be traced away or
could not end the pass. The one layer that a hook sits inside of runs eagerly meanwhile. ``forward`` is set on the
layer itself: a TransformerLens component would hand the attribute on to the module it wraps.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pyworker.lm.points import Point


class CompiledLayers:
    """The layers that are compiled at this moment.

    Args:
        layers: those of the model, which may be others after it was turned into a bridge.
        mode: of ``torch.compile``.
    """

    def __init__(self, layers: Callable[[], Iterable[nn.Module]], mode: str | None):
        self._layers, self._mode = layers, mode
        self.compiled: dict[nn.Module, Callable[..., Any]] = {}

    def compile(self) -> None:
        """Compile what is not yet."""
        for layer in self._layers():
            if layer not in self.compiled:
                self.compiled[layer] = torch.compile(layer.forward, mode=self._mode)
                object.__setattr__(layer, "forward", self.compiled[layer])

    def restore(self) -> None:
        """Run eagerly again."""
        for layer in self.compiled:
            object.__delattr__(layer, "forward")
        self.compiled.clear()

    @contextmanager
    def eager_around(self, points: Iterable[Point]) -> Iterator[None]:
        """Compiled, but for layers that a point lies inside of."""
        self.compile()
        hooked = [point.module for point in points]
        inside = [
            layer
            for layer in self.compiled
            if any(module in hooked and module is not layer for module in layer.modules())
        ]
        for layer in inside:
            object.__delattr__(layer, "forward")
        try:
            yield
        finally:
            for layer in inside:
                object.__setattr__(layer, "forward", self.compiled[layer])
