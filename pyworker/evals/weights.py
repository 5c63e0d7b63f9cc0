"""Statistics of the latents that need only the weights.

Shapes: F latents, D d_in.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ROWS_A_BLOCK = 256


@torch.no_grad()
def weight_statistics(sae: Any) -> dict[str, Tensor]:
    """Encoder norm, encoder-decoder cosine and, where there is one, encoder bias; arrays of F."""
    W_enc_DF, W_dec_FD = sae.W_enc.float(), sae.W_dec.float()
    out = {
        "encoder_norm": W_enc_DF.norm(dim=0),
        "encoder_decoder_cosine_sim": functional.cosine_similarity(W_dec_FD, W_enc_DF.T),
    }
    bias_F = getattr(sae, "b_enc", getattr(sae, "b_mag", None))
    return out if bias_F is None else {**out, "encoder_bias": bias_F.float()}


@torch.no_grad()
def nearest_latents(sae: Any) -> dict[str, Tensor]:
    """Of each latent the cosine to the one most like it, by encoder and by decoder; arrays of F. Takes F² · D steps."""
    return {
        "max_encoder_cosine_sim": max_cosine(sae.W_enc.float().T),
        "max_decoder_cosine_sim": max_cosine(sae.W_dec.float()),
    }


def max_cosine(rows_FD: Tensor) -> Tensor:
    """The largest cosine of each row with any other, in blocks of rows: never an F × F matrix. NaN for one row."""
    unit_FD = functional.normalize(rows_FD, dim=1)
    found = []
    for start in range(0, len(unit_FD), ROWS_A_BLOCK):
        cosine_BF = unit_FD[start : start + ROWS_A_BLOCK] @ unit_FD.T
        row_B = torch.arange(len(cosine_BF), device=cosine_BF.device)
        cosine_BF[row_B, row_B + start] = -torch.inf  # itself
        found.append(cosine_BF.max(dim=1).values)
    largest_F = torch.cat(found)
    return torch.where(largest_F.isinf(), torch.nan, largest_F)
