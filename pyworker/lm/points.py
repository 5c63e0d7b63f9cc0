"""Places in a forward pass where a tensor can be read, replaced, or the pass ended.

Two kinds, one interface: a module of a Hugging Face model (its input or its output), and a hook point of
TransformerLens. ``attach`` calls ``visit(value)`` when the place is reached; what it returns replaces the
value, None leaves it. An exception raised by ``visit`` ends the forward pass: so it stops at the hook.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pyworker.errors import WorkerError

Visit = Callable[[Tensor], Tensor | None]


class Point(Protocol):
    """A place that ``visit`` can be attached to. ``module`` is the module that the hook sits on."""

    module: nn.Module

    def attach(self, visit: Visit) -> Any:
        """A context manager; the hook is there inside it and gone after it, whatever happens."""
        ...


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list) and value and isinstance(value[0], Tensor):
        return value[0]
    return None


@dataclass(frozen=True)
class ModuleOutput:
    """The output of a module; of a tuple, its first tensor."""

    module: nn.Module

    @contextmanager
    def attach(self, visit: Visit) -> Iterator[None]:
        """See Point."""

        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            value = _first_tensor(output)
            new = None if value is None else visit(value)
            if new is None or isinstance(output, Tensor):
                return new
            return type(output)([new, *output[1:]])

        handle = self.module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class ModuleInput:
    """The hidden states that go into a module: its first argument, or the keyword ``hidden_states``."""

    module: nn.Module

    @contextmanager
    def attach(self, visit: Visit) -> Iterator[None]:
        """See Point."""

        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                new = visit(args[0])
                return None if new is None else ((new, *args[1:]), kwargs)
            new = visit(kwargs["hidden_states"])
            return None if new is None else (args, {**kwargs, "hidden_states": new})

        handle = self.module.register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class HeadsInput:
    """What the heads give to the module that joins them, heads apart: ``[..., heads, d_head]``."""

    module: nn.Module
    n_heads: int

    def attach(self, visit: Visit) -> Any:
        """See Point."""

        def visit_heads(joined: Tensor) -> Tensor | None:
            new = visit(joined.unflatten(-1, (self.n_heads, -1)))
            return None if new is None else new.flatten(-2)

        return ModuleInput(self.module).attach(visit_heads)


@dataclass(frozen=True)
class LensPoint:
    """A TransformerLens HookPoint; it splits heads apart (hook_z) as TransformerLens shows them."""

    module: Any

    @contextmanager
    def attach(self, visit: Visit) -> Iterator[None]:
        """See Point."""
        handle = self.module.add_hook(lambda value, hook: visit(value) if torch.is_tensor(value) else None)
        try:
            yield
        finally:
            handle.hook.remove()
            self.module.fwd_hooks.remove(handle)


def select_heads(value: Tensor, tokens_PC: Tensor, hook_name: str, head_index: int | None) -> Tensor:
    """x_PCD from what a hook saw: [P, C, D], or [P, C, heads, d_head], one head chosen or all flattened.

    Raises:
        WorkerError: HOOK_SHAPE.
    """
    if value.shape[:2] != tokens_PC.shape or value.ndim not in (3, 4):
        raise WorkerError(
            "HOOK_SHAPE",
            f"'{hook_name}' gave {list(value.shape)} for {list(tokens_PC.shape)} tokens; an SAE needs "
            "one vector, or one for each head, for each token.",
            "Choose a residual stream, MLP or attention output, or attn.hook_z.",
            {"hook_name": hook_name, "shape": list(value.shape)},
        )
    if head_index is None:
        return value if value.ndim == 3 else value.flatten(2)
    if value.ndim == 3:
        raise WorkerError(
            "HOOK_SHAPE",
            f"hook_head_index is {head_index}, but '{hook_name}' has no heads: it gave {list(value.shape)}.",
            "Leave hook_head_index out, or choose a per-head hook such as blocks.N.attn.hook_z.",
            {"hook_name": hook_name, "shape": list(value.shape)},
        )
    if not 0 <= head_index < value.shape[2]:
        raise WorkerError(
            "HOOK_SHAPE",
            f"hook_head_index is {head_index}, but the hook '{hook_name}' has {value.shape[2]} heads.",
            f"Choose 0 to {value.shape[2] - 1}, or leave it out to flatten all heads.",
            {"hook_name": hook_name, "heads": value.shape[2]},
        )
    return value[:, :, head_index]
