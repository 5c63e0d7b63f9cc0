"""The two kinds of language model (``model_class_name``): which hook points they have, how they run.

Shapes: P prompts, C context, V vocabulary.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pyworker.lm.points import HeadsInput, LensPoint, ModuleInput, ModuleOutput, Point


@dataclass(frozen=True)
class LayerModules:
    """Where in a Hugging Face model the decoder layers are, and in a layer what TransformerLens has hook points for."""

    layers: str
    attn_out: str = "self_attn"
    mlp_out: str = "mlp"
    z_into: str = "self_attn.o_proj"
    """The module that joins the heads: its input are the values of all heads, one after the other."""


# For these architectures the hook points of PLAIN_HOOK are exactly the input or output of a module, so the plain
# Hugging Face model is hooked there: same values at several times the speed of the bridge. test/python/lm compares
# every line of this table with the bridge.
LAYER_MODULES = {
    "GPT2LMHeadModel": LayerModules("transformer.h", "attn", z_into="attn.c_proj"),
    "GPTNeoForCausalLM": LayerModules("transformer.h", "attn", z_into="attn.attention.out_proj"),
    "GPTNeoXForCausalLM": LayerModules("gpt_neox.layers", "attention", z_into="attention.dense"),
    "Gemma2ForCausalLM": LayerModules(
        "model.layers", "post_attention_layernorm", "post_feedforward_layernorm"
    ),
    "LlamaForCausalLM": LayerModules("model.layers"),
    "MistralForCausalLM": LayerModules("model.layers"),
    "Qwen2ForCausalLM": LayerModules("model.layers"),
    "Qwen3ForCausalLM": LayerModules("model.layers"),
}

PLAIN_HOOK = re.compile(
    r"blocks\.(\d+)\.(hook_resid_pre|hook_resid_post|hook_attn_out|hook_mlp_out|attn\.hook_z)"
)


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


def layers_of(model: nn.Module) -> nn.ModuleList | None:
    """The decoder layers: by the table, else the longest ModuleList that is not inside another one."""
    modules = LAYER_MODULES.get(type(model).__name__)
    if modules is not None:
        return model.get_submodule(modules.layers)  # type: ignore[return-value]
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
        yield from layers_of(self.model) or ()

    def as_loaded_for(self, hook_name: str) -> bool:
        """See Backend."""
        return True

    def logits(self, tokens_PC: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        """See Backend."""
        return self.model(input_ids=tokens_PC, **model_kwargs).logits


class TransformerLensModel:
    """``HookedTransformer``: hook points by TransformerLens' names, values without weight processing.

    Starts as the plain Hugging Face model when the architecture can be hooked there. Turns
    into a TransformerBridge (which wraps that same model, in place) when another hook point is asked for.
    """

    def __init__(self, model: nn.Module | None, bridge: Any | None, tokenizer: Any | None, model_name: str):
        self._model = model
        self._bridge = bridge
        self._tokenizer = tokenizer
        self._model_name = model_name
        self._n_plain_layers = 0 if model is None else len(layers_of(model) or ())
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

    def _plain_point(self, hook_name: str) -> Point | None:
        """The place in the plain model that this hook point is; None where only a bridge has it."""
        modules, match = LAYER_MODULES.get(type(self._model).__name__), PLAIN_HOOK.fullmatch(hook_name)
        if modules is None or match is None or int(match[1]) >= self._n_plain_layers:
            return None
        layer = layers_of(self._model)[int(match[1])]
        match match[2]:
            case "hook_resid_pre":
                return ModuleInput(layer)
            case "hook_resid_post":
                return ModuleOutput(layer)
            case "hook_attn_out":
                return ModuleOutput(layer.get_submodule(modules.attn_out))
            case "hook_mlp_out":
                return ModuleOutput(layer.get_submodule(modules.mlp_out))
            case _:
                return HeadsInput(layer.get_submodule(modules.z_into), self.config.num_attention_heads)

    def as_loaded_for(self, hook_name: str) -> bool:
        """See Backend. A bridge computes with other kernels than the plain model does."""
        return not self.bridged or self._plain_point(hook_name) is None

    def point(self, hook_name: str) -> Point | None:
        """See Backend."""
        plain = None if self.bridged else self._plain_point(hook_name)
        if plain is not None:
            return plain
        found = self.bridge().hook_dict.get(hook_name)
        return None if found is None else LensPoint(found)

    def points(self) -> dict[str, Point]:
        """See Backend."""
        return {name: LensPoint(point) for name, point in self.bridge().hook_dict.items()}

    def layers(self) -> Iterator[nn.Module]:
        """See Backend."""
        yield from (self._bridge.blocks if self.bridged else layers_of(self._model)) or ()

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
