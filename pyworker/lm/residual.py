"""From a hook to the logits: what an SAE adds at a hook, as the residual stream and the unembedding see it.

Legend: F directions, D width at the hook, R width of the residual stream, V vocabulary.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyworker.lm.backends import LAYER_MODULES, layers_of

WRITTEN = re.compile(
    r"blocks\.(\d+)\.(hook_resid_pre|hook_resid_mid|hook_resid_post|hook_attn_out|hook_mlp_out|attn\.hook_z)"
)
"""Hook points of TransformerLens whose values are in the residual stream, are added to it, or get there linearly."""


def layer_of(model: Any, hook_name: str) -> int | None:
    """Number of the decoder layer of a Hugging Face model that a hook point of either kind is in; None for no layer."""
    match = re.match(r"blocks\.(\d+)\.", hook_name)
    if match is not None:
        return int(match[1])
    layers = layers_of(model)
    for name, module in model.named_modules():
        if module is layers and hook_name.startswith(f"{name}."):
            number, _, _ = hook_name.removeprefix(f"{name}.").partition(".")
            return int(number) if number.isdecimal() else None
    return None


def unembedding(model: Any) -> Tensor | None:
    """W_U as ``[V, R]`` of a Hugging Face model; None where it has none that is a matrix."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    weight = getattr(getattr(head, "original_component", head), "weight", None)
    return weight if isinstance(weight, Tensor) else None


def into_residual(model: Any, hook_name: str, head_index: int | None, directions_FD: Tensor) -> Tensor | None:
    """What directions at a hook are in the residual stream: ``[F, R]``; None where that is not a matter of weights.

    Args:
        model: a Hugging Face model, whose hook points may have names of TransformerLens.
        hook_name: a hook point of either kind of language model.
        head_index: of a per-head hook: the directions are those of one head.
        directions_FD: rows at the hook.
    """
    match = WRITTEN.fullmatch(hook_name)
    if match is not None and match[2] == "attn.hook_z":
        return _through_heads(model, int(match[1]), head_index, directions_FD)
    return directions_FD if match is not None or _writes(model, hook_name) else None


def _writes(model: Any, name: str) -> bool:
    """Whether the module of this name gives a layer's output or what is added to the residual stream."""
    modules = LAYER_MODULES.get(type(model).__name__)
    if modules is None or not name.startswith(f"{modules.layers}."):
        return False
    number, _, part = name.removeprefix(f"{modules.layers}.").partition(".")
    return number.isdecimal() and part in ("", modules.attn_out, modules.mlp_out)


@torch.no_grad()
def _through_heads(model: Any, layer: int, head_index: int | None, directions_FD: Tensor) -> Tensor | None:
    modules = LAYER_MODULES.get(type(model).__name__)
    if modules is None or type(model).__name__ == "Gemma2ForCausalLM":  # normalised before it is added
        return None
    join: nn.Module = model.get_submodule(f"{modules.layers}.{layer}.{modules.z_into}")
    # In float32 whatever the type of the model: these are weights of an SAE, and no activations.
    weights = {name: weight.float() for name, weight in join.named_parameters()}
    rows_FZ = directions_FD.to(next(join.parameters()).device).float()
    if head_index is not None:
        n_heads = model.config.num_attention_heads
        every_FHZ = rows_FZ.new_zeros(len(rows_FZ), n_heads, rows_FZ.shape[1])
        every_FHZ[:, head_index] = rows_FZ
        rows_FZ = every_FHZ.flatten(1)
    nothing_1Z = torch.zeros_like(rows_FZ[:1])  # the bias is nobody's direction
    return functional_call(join, weights, rows_FZ) - functional_call(join, weights, nothing_1Z)
