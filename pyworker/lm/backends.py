"""The two kinds of language model (``model_class_name``): which hook points they have, how they run.

Shapes: P prompts, C context, V vocabulary.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pyworker.lm.points import LensPoint, ModuleInput, ModuleOutput, Point

# Where the decoder layers of an architecture are. For these, TransformerLens' blocks.N.hook_resid_pre/post
# are exactly the layer's input and output, so the plain Hugging Face model is hooked there: same values at
# several times the speed of the bridge. test/python/lm compares every line of this table with the bridge.
DECODER_LAYERS = {
    "GPT2LMHeadModel": "transformer.h",
    "GPTNeoForCausalLM": "transformer.h",
    "GPTNeoXForCausalLM": "gpt_neox.layers",
    "Gemma2ForCausalLM": "model.layers",
    "LlamaForCausalLM": "model.layers",
    "MistralForCausalLM": "model.layers",
    "Qwen2ForCausalLM": "model.layers",
    "Qwen3ForCausalLM": "model.layers",
}

_RESIDUAL = re.compile(r"blocks\.(\d+)\.hook_resid_(pre|post)")


class Backend(Protocol):
    """What LanguageModel needs of a loaded model. ``model`` is the one of Hugging Face, wrapped or not."""

    model: Any
    config: Any

    def point(self, hook_name: str) -> Point | None:
        """The place of this name, None when there is none."""
        ...

    def points(self) -> dict[str, Point]:
        """Every place by name; several names may share one place."""
        ...

    def layers(self) -> Iterator[nn.Module]:
        """The decoder layers, the units of compilation."""
        ...

    def as_loaded_for(self, hook_name: str) -> bool:
        """Whether a model loaded just now would read this hook point in the same way, bit for bit."""
        ...

    def logits(self, tokens_PC: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        """One full forward pass: logits_PCV."""
        ...


def _layers_of(model: nn.Module) -> nn.ModuleList | None:
    """The decoder layers: by the table, else the longest ModuleList that is not inside another one."""
    path = DECODER_LAYERS.get(type(model).__name__)
    if path is not None:
        return model.get_submodule(path)  # type: ignore[return-value]
    outermost: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in outermost)
        if isinstance(module, nn.ModuleList) and len(module) > 0 and not inside:
            outermost[name] = module
    return max(outermost.values(), key=len, default=None)


class HuggingFaceModel:
    """``AutoModelForCausalLM``: hook points are module names, the value is the module's output."""

    def __init__(self, model: nn.Module):
        self.model: Any = model
        self.config: Any = model.config

    def point(self, hook_name: str) -> Point | None:
        """See Backend."""
        return self.points().get(hook_name)

    def points(self) -> dict[str, Point]:
        """See Backend."""
        return {name: ModuleOutput(module) for name, module in self.model.named_modules() if name}

    def layers(self) -> Iterator[nn.Module]:
        """See Backend."""
        yield from _layers_of(self.model) or ()

    def as_loaded_for(self, hook_name: str) -> bool:
        """See Backend."""
        return True

    def logits(self, tokens_PC: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        """See Backend."""
        return self.model(input_ids=tokens_PC, **model_kwargs).logits


class TransformerLensModel:
    """``HookedTransformer``: hook points by TransformerLens' names, values without weight processing.

    Starts as the plain Hugging Face model when the architecture's residual stream can be hooked there. Turns
    into a TransformerBridge (which wraps that same model, in place) when another hook point is asked for.
    """

    def __init__(self, model: nn.Module | None, bridge: Any | None, tokenizer: Any | None, model_name: str):
        self._model = model
        self._bridge = bridge
        self._tokenizer = tokenizer
        self._model_name = model_name
        self._n_plain_layers = 0 if model is None else len(_layers_of(model) or ())
        self.model: Any = model if model is not None else bridge.original_model
        # A native bridge (TransformerLens' own old checkpoints) has a configuration of its own only.
        self.config: Any = getattr(self.model, "config", None) or bridge.cfg

    @property
    def bridged(self) -> bool:
        """Whether forwards go through TransformerLens."""
        return self._bridge is not None

    def bridge(self) -> Any:
        """The TransformerBridge, made at the first call."""
        if self._bridge is None:
            from transformer_lens.model_bridge import TransformerBridge

            parameter = next(self._model.parameters())
            self._bridge = TransformerBridge.boot_transformers(
                self._model_name,
                hf_model=self._model,
                # The bridge normalises the tokenizer it is given; ours keeps its own special tokens.
                tokenizer=copy.deepcopy(self._tokenizer),
                device=parameter.device,
                dtype=parameter.dtype,
            )
            self._bridge.eval()
        return self._bridge

    def _residual_layer(self, hook_name: str) -> int | None:
        """The layer whose input or output this hook point is, when the plain model is enough to read it."""
        match = _RESIDUAL.fullmatch(hook_name)
        layer = None if match is None else int(match[1])
        return layer if layer is not None and layer < self._n_plain_layers else None

    def as_loaded_for(self, hook_name: str) -> bool:
        """See Backend. A bridge computes the residual stream with other kernels than the plain model does."""
        return not self.bridged or self._residual_layer(hook_name) is None

    def point(self, hook_name: str) -> Point | None:
        """See Backend."""
        number = None if self.bridged else self._residual_layer(hook_name)
        if number is not None:
            layer = _layers_of(self._model)[number]
            return ModuleInput(layer) if hook_name.endswith("pre") else ModuleOutput(layer)
        found = self.bridge().hook_dict.get(hook_name)
        return None if found is None else LensPoint(found)

    def points(self) -> dict[str, Point]:
        """See Backend."""
        return {name: LensPoint(point) for name, point in self.bridge().hook_dict.items()}

    def layers(self) -> Iterator[nn.Module]:
        """See Backend."""
        yield from (self._bridge.blocks if self.bridged else _layers_of(self._model)) or ()

    def logits(self, tokens_PC: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        """See Backend."""
        if self.bridged:
            return self._bridge(tokens_PC, return_type="logits", **model_kwargs)
        return self._model(input_ids=tokens_PC, **model_kwargs).logits


def freeze(model: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients, no key/value cache: this model is only ever read."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    config = getattr(model, "config", None)
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return model


def dtype_named(name: Any) -> Any:
    """``"bfloat16"`` or ``"torch.bfloat16"`` as torch.bfloat16; anything else as it is (``"auto"``)."""
    if isinstance(name, str):
        found = getattr(torch, name.removeprefix("torch."), None)
        return found if isinstance(found, torch.dtype) else name
    return name
