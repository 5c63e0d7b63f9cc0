"""The language model whose activations the SAE reads.

Shapes: P prompts, C context, D d_in (heads flattened unless one is chosen), V vocabulary.
"""

import math
import shlex
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Never  # typing has it from Python 3.11 on

from pyworker.errors import WorkerError
from pyworker.lm.backends import Backend
from pyworker.lm.compiled_layers import CompiledLayers
from pyworker.lm.names import nearest
from pyworker.lm.points import Point, select_heads
from pyworker.lm.residual import into_residual, layer_of, unembedding
from pyworker.lm.tokenizer import special_token_ids, token_text

# Reads x_PCD; a tensor of the same shape replaces it for the rest of the forward pass, None leaves it.
Edit = Callable[[Tensor], Tensor | None]
Place = tuple[str | None, int | None]

# Prompts and context of the forward pass that lists hook points: unlike enough to tell tokens from heads.
_PROBE = (2, 7)


class _Reached(Exception):
    """Ends a forward pass at the last hook."""


@dataclass(frozen=True)
class HookPoint:
    """A place an SAE can be trained on, or only looked at.

    ``shape`` is what it gives for 2 prompts of 7 tokens. ``d_in`` is the width of an SAE there with all heads
    flattened; None when the value is not one vector (or one for each head) for each token.
    """

    name: str
    shape: tuple[int, ...]
    d_in: int | None


class LanguageModel:
    """A loaded, frozen language model with named hook points.

    Methods that take ``hook_name`` and ``head_index`` use those of the configuration when ``hook_name`` is
    None. One forward pass runs at a time: hooks live on the shared modules, so a prefetching thread waits for
    an evaluation.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Any | None,
        *,
        model_name: str,
        model_class_name: str,
        device: torch.device,
        hook_name: str | None = None,
        head_index: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        autocast: bool = False,
        compile_forward: bool = False,
        compilation_mode: str | None = None,
    ):
        self._backend = backend
        self._tokenizer = tokenizer
        self.model_name = model_name
        self.model_class_name = model_class_name
        self.device = device
        self.hook_name = hook_name
        self.head_index = head_index
        self._model_kwargs = dict(model_kwargs or {})
        self._autocast = autocast
        self._compiled = CompiledLayers(backend.layers, compilation_mode) if compile_forward else None
        self._points: dict[str, Point] = {}
        self._lock = threading.RLock()

    # --- what the model is ---

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer.

        Raises:
            WorkerError: MODEL_LOAD_FAILED when the model came without one.
        """
        if self._tokenizer is None:
            raise WorkerError(
                "MODEL_LOAD_FAILED",
                "The model came without a tokenizer, and text was given to it.",
                "Put tokenizer.json and tokenizer_config.json beside the model, or use tokenized data.",
            )
        return self._tokenizer

    def _token_id(self, name: str) -> int | None:
        found = getattr(self._tokenizer, name, None)
        if found is None:
            found = getattr(self._backend.config, name, None)
        return found[0] if isinstance(found, list) else found

    @property
    def bos_token_id(self) -> int | None:
        """Begin of sequence; ``HookedTransformer`` takes EOS where there is none, as TransformerLens does."""
        bos = self._token_id("bos_token_id")
        return self.eos_token_id if bos is None and self.model_class_name == "HookedTransformer" else bos

    @property
    def eos_token_id(self) -> int | None:
        """End of sequence."""
        return self._token_id("eos_token_id")

    @property
    def sep_token_id(self) -> int | None:
        """Separator."""
        return self._token_id("sep_token_id")

    def special_token_ids(self) -> list[int]:
        """The ids that ``exclude_special_tokens: true`` leaves out: bos, eos, pad, sep, decoder start.

        Chat tokens registered as additional special tokens are not among them, as in SAELens.
        """
        return special_token_ids(self._tokenizer if self._tokenizer is not None else self._backend.config)

    def token_text(self, token_id: int) -> str:
        """What a token is in text, its leading space too; its number where there is no tokenizer that knows it."""
        return token_text(self._tokenizer, token_id)

    def _text_config(self) -> Any:
        config = self._backend.config
        return config.get_text_config() if hasattr(config, "get_text_config") else config

    @property
    def vocab_size(self) -> int:
        """Number of token ids the model knows."""
        config = self._text_config()
        return int(config.vocab_size if hasattr(config, "vocab_size") else config.d_vocab)

    @property
    def context_limit(self) -> int | None:
        """Most tokens in one sequence; None when the model sets no limit."""
        config = self._text_config()
        for name in ("max_position_embeddings", "n_positions", "n_ctx"):
            if isinstance(limit := getattr(config, name, None), int) and limit > 0:
                return limit
        return None

    # --- hook points ---

    def _point(self, hook_name: str) -> Point:
        if hook_name not in self._points:
            self._run_eagerly()
            point = self._backend.point(hook_name)
            if point is None:
                self._hook_not_found(hook_name)
            # Finding a point may have turned the model into a bridge, which wraps the modules found before.
            self._points = {name: self._backend.point(name) for name in (*self._points, hook_name)}
        return self._points[hook_name]

    @property
    def _is_lens(self) -> bool:
        return self.model_class_name == "HookedTransformer"

    def _list_command(self) -> str:
        suffix = "" if self._is_lens else f" --model_class_name {self.model_class_name}"
        return f"List them with `sae-lens-ts hooks {shlex.quote(self.model_name)}{suffix}`."

    def _hook_not_found(self, hook_name: str) -> Never:
        names = nearest(hook_name, self._backend.points())
        other = "AutoModelForCausalLM" if self._is_lens else "HookedTransformer"
        advice = "" if names else f" Or is it a name of --model_class_name {other}?"
        raise WorkerError(
            "HOOK_NOT_FOUND",
            f"The model has no hook point '{hook_name}'. Nearest: {', '.join(names) or 'none'}.",
            self._list_command() + advice,
            {"hook_name": hook_name, "nearest": names, "model_class_name": self.model_class_name},
        )

    def _where(self, hook_name: str | None, head_index: int | None) -> tuple[str, int | None]:
        if hook_name is not None:
            return hook_name, head_index
        if self.hook_name is None:
            raise WorkerError("HOOK_NOT_FOUND", "No hook_name was given.", self._list_command())
        return self.hook_name, self.head_index if head_index is None else head_index

    def as_loaded_for(self, hook_name: str | None) -> bool:
        """Whether the hook points asked for so far leave the values at this one as a new load would give them.

        Another hook point may have turned the model into a bridge, whose values differ in their last bits.
        """
        return hook_name is None or self._backend.as_loaded_for(hook_name)

    def d_in(self, hook_name: str | None = None, head_index: int | None = None) -> int:
        """Width of the activations at a hook point, found by a forward pass of two tokens up to it."""
        tokens_PC = torch.zeros(1, 2, dtype=torch.long)
        return self.activations(tokens_PC, hook_name, head_index).shape[-1]

    def hook_points(self) -> list[HookPoint]:
        """Every hook point that a forward pass on text reaches, in the order it reaches them."""
        self._run_eagerly()
        self._points.clear()
        points = self._backend.points()
        places: dict[int, list[str]] = {}
        for name, point in points.items():
            places.setdefault(id(point.module), []).append(name)
        prompts, context = _PROBE
        seen: dict[str, HookPoint] = {}

        def record(names: list[str]) -> Callable[[Tensor], None]:
            def visit(value: Tensor) -> None:
                shape = tuple(value.shape)
                per_token = shape[:2] == (prompts, context) and len(shape) in (3, 4)
                for name in names:
                    seen.setdefault(name, HookPoint(name, shape, math.prod(shape[2:]) if per_token else None))

            return visit

        with self._lock, ExitStack() as attached:
            for names in places.values():
                attached.enter_context(points[names[0]].attach(record(names)))
            self._run(torch.zeros(prompts, context, dtype=torch.long), compiled=False)
        return list(seen.values())

    # --- forward passes ---

    def activations(
        self, tokens_PC: Tensor, hook_name: str | None = None, head_index: int | None = None
    ) -> Tensor:
        """Activations at the hook, computed no further than the hook.

        Args:
            tokens_PC: token ids, on any device.
            hook_name: None for the hook of the configuration.
            head_index: one head of a per-head hook; None flattens the heads.

        Returns:
            acts_PCD on the model's device, in the dtype the model computed it in.

        Raises:
            WorkerError: HOOK_NOT_FOUND, HOOK_SHAPE.
        """
        hook_name, head_index = self._where(hook_name, head_index)
        return self.activations_at(tokens_PC, [hook_name], head_index)[hook_name]

    def activations_at(
        self, tokens_PC: Tensor, hook_names: Sequence[str], head_index: int | None = None
    ) -> dict[str, Tensor]:
        """``activations`` at several hooks, from one forward pass that ends at the last of them."""
        places = [(name, head_index) for name in hook_names]
        _, found = self.clean_pass(tokens_PC, places, to_the_end=False)
        return {name: found[name, head_index] for name in hook_names}

    @torch.no_grad()
    def clean_pass(
        self, tokens_PC: Tensor, places: Sequence[Place], *, to_the_end: bool
    ) -> tuple[Tensor | None, dict[Place, Tensor]]:
        """Activations at several places, hook and head each, from one untouched forward pass.

        Args:
            tokens_PC: token ids, on any device.
            places: as the arguments of ``activations``.
            to_the_end: whether logits are wanted; without them the pass ends at the last place.

        Returns:
            logits_PCV or None, and acts_PCD by place.

        Raises:
            WorkerError: HOOK_NOT_FOUND, HOOK_SHAPE.
        """
        seen: dict[Place, Tensor] = {}
        where = {place: self._where(*place) for place in places}
        names = list(dict.fromkeys(name for name, _ in where.values()))

        def read(hook_name: str, value: Tensor) -> None:
            here = {place: head for place, (name, head) in where.items() if name == hook_name}
            is_last = not to_the_end and len(seen.keys() | here) == len(where)
            for place, head in here.items():
                x_PCD = select_heads(value, tokens_PC, hook_name, head)
                seen[place] = x_PCD if is_last else x_PCD.clone()  # layers above may work in place
            if is_last:
                raise _Reached

        logits_PCV = None
        with self._lock:
            for name in names:
                self._point(name)
            points = [self._points[name] for name in names]
            try:
                with self._eager_around(points), ExitStack() as attached:
                    for name, point in zip(names, points, strict=True):
                        attached.enter_context(point.attach(partial(read, name)))
                    logits_PCV = self._run(tokens_PC)
            except _Reached:
                return None, seen
        if len(seen) < len(where):
            self._never_reached(next(name for place, (name, _) in where.items() if place not in seen))
        return logits_PCV, seen

    @torch.no_grad()
    def logits(
        self,
        tokens_PC: Tensor,
        edit: Edit | None = None,
        hook_name: str | None = None,
        head_index: int | None = None,
    ) -> Tensor:
        """A full forward pass, reading or replacing the activations at the hook on the way.

        Args:
            tokens_PC: token ids.
            edit: sees x_PCD (heads flattened, or the one head) and may return its replacement.
            hook_name: None for the hook of the configuration.
            head_index: as for ``activations``; the other heads stay as they are.

        Returns:
            logits_PCV.
        """
        with self._lock:
            if edit is None:
                return self._run(tokens_PC)
            hook_name, head_index = self._where(hook_name, head_index)
            reached = False

            def visit(value: Tensor) -> Tensor | None:
                nonlocal reached
                reached = True
                new = edit(select_heads(value, tokens_PC, hook_name, head_index))
                if new is None:
                    return None
                new = new.to(device=value.device, dtype=value.dtype)
                if head_index is None:
                    return new.reshape(value.shape)
                whole = value.clone()
                whole[:, :, head_index] = new
                return whole

            point = self._point(hook_name)
            with self._eager_around([point]), point.attach(visit):
                logits_PCV = self._run(tokens_PC)
        if not reached:
            self._never_reached(hook_name)
        return logits_PCV

    def _never_reached(self, hook_name: str) -> Never:
        raise WorkerError(
            "HOOK_NOT_FOUND",
            f"The hook point '{hook_name}' exists, but a forward pass on text does not reach it.",
            f"Some are off unless the model is told otherwise. {self._list_command()}",
            {"hook_name": hook_name},
        )

    @torch.no_grad()
    def _run(self, tokens_PC: Tensor, compiled: bool = True) -> Tensor:
        tokens_PC = tokens_PC.to(self.device)
        if self._compiled is not None and compiled:
            self._compiled.compile()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            return self._backend.logits(tokens_PC, self._model_kwargs)

    def _run_eagerly(self) -> None:
        if self._compiled is not None:
            self._compiled.restore()

    def _eager_around(self, points: Sequence[Point]) -> AbstractContextManager[None]:
        return nullcontext() if self._compiled is None else self._compiled.eager_around(points)

    # --- from a hook to the logits ---

    def unembedding(self) -> Tensor | None:
        """W_U as ``[V, width of the residual stream]``; None where the model has none that is a matrix."""
        return unembedding(self._backend.model)

    def into_residual(
        self, directions_FD: Tensor, hook_name: str | None = None, head_index: int | None = None
    ) -> Tensor | None:
        """What directions at a hook are in the residual stream; None where that is not a matter of weights alone.

        Args:
            directions_FD: rows at the hook.
            hook_name, head_index: as for ``activations``.
        """
        hook_name, head_index = self._where(hook_name, head_index)
        return into_residual(self._backend.model, hook_name, head_index, directions_FD)

    def layer_of(self, hook_name: str) -> int | None:
        """Number of the layer that a hook point is in; None where it is in none."""
        return layer_of(self._backend.model, hook_name)
