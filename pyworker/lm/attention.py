"""Causal attention of narrow heads, which torch's kernel for CPUs is not made for.

Legend: P prompts, T tokens, H heads, G groups of heads with one key, S heads of a group, D head width; B groups of all
prompts, Q queries of a block, K keys up to the last of them.
"""

from typing import Any

import torch
from torch import Tensor, nn

NAME = "narrow_heads"
"""What transformers knows it by."""

WIDEST = 8
"""Up to so wide a head: at 32 prompts of 128 tokens in float32 (one thread, AVX-512) this took 5.1 ms at a width of 8
where torch's kernel took 8.9, as long at 12, and longer above."""

QUERIES, SCORE_BYTES = 32, 512 * 2**10
"""Queries of a block, and the most bytes of scores at a time: they stay in the second cache of a core. With half as
many a pass took 7 % longer (stories260K up to layer 2, AVX2), with twice as many just as long."""


def attend_narrow_heads(model: Any) -> None:
    """Let a model of transformers, on a CPU in float32, compute its attention here where its heads are narrow.

    A model that computes its attention in another way than torch's (``attn_implementation``) is left as it is.
    """
    config = model.config
    heads = getattr(config, "num_attention_heads", None)
    width = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else None)
    if width is None or width > WIDEST or config._attn_implementation != "sdpa":
        return
    if next(model.parameters()).device.type != "cpu" or model.dtype != torch.float32:
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attend(
    module: nn.Module,
    query_PHTD: Tensor,
    key_PGTD: Tensor,
    value_PGTD: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers asks of an attention function: ``[P, T, H, D]``. All that is not plain causal attention of
    whole sequences (a mask, as where something is padded or beyond a window; a cache) is torch's."""
    causal = kwargs.get("is_causal")
    plain = (
        attention_mask is None
        and (getattr(module, "is_causal", True) if causal is None else causal)
        and query_PHTD.shape[2] == key_PGTD.shape[2]
        and query_PHTD.dtype == value_PGTD.dtype == torch.float32
        and not any(kwargs.get(name) for name in ("dropout", "softcap", "output_attentions"))
        and all(kwargs.get(name) is None for name in ("position_bias", "cache"))
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )
    if not plain:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query_PHTD, key_PGTD, value_PGTD, attention_mask, **kwargs)
    scale = kwargs.get("scaling")
    scale = query_PHTD.shape[3] ** -0.5 if scale is None else scale
    return causal_attention(query_PHTD, key_PGTD, value_PGTD, scale).transpose(1, 2).contiguous(), None


def causal_attention(query_PHTD: Tensor, key_PGTD: Tensor, value_PGTD: Tensor, scale: float) -> Tensor:
    """``softmax(scale · q · kᵀ) · v`` over the keys up to each query (Vaswani et al. 2017, eq. 1): ``[P, H, T, D]``.

    Keys beyond a block of queries are not looked at. The last product is made transposed, ``vᵀ · scoresᵀ``: with so few
    columns the other way round takes four times as long.
    """
    (P, H, T, D), G = query_PHTD.shape, key_PGTD.shape[1]
    S = H // G
    query_BSTD = query_PHTD.reshape(P * G, S, T, D)
    key_BDT = key_PGTD.reshape(P * G, T, D).transpose(1, 2)
    value_BDT = value_PGTD.transpose(2, 3).reshape(P * G, -1, T)
    out_BSTD = torch.empty_like(query_BSTD)
    for first in range(0, T, QUERIES):
        end = min(first + QUERIES, T)
        mask_QK = query_PHTD.new_full((end - first, end), -torch.inf).triu_(first + 1).repeat(S, 1)
        size = max(1, SCORE_BYTES // (mask_QK.numel() * mask_QK.element_size()))
        for low in range(0, P * G, size):
            block = slice(low, low + size)
            query_BQD = query_BSTD[block, :, first:end].flatten(1, 2)
            scores_BQK = torch.baddbmm(mask_QK, query_BQD, key_BDT[block, :, :end], alpha=scale)
            torch.softmax(scores_BQK, dim=-1, out=scores_BQK)
            out_BDQ = torch.bmm(value_BDT[block, :, :end], scores_BQK.transpose(1, 2))
            out_BSTD[block, :, first:end] = out_BDQ.unflatten(-1, (S, -1)).permute(0, 2, 3, 1)
    return out_BSTD.view(P, H, T, D)
