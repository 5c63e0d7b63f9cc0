"""Statistics of the latents that need only the weights.

Shapes: F latents, D d_in.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def weight_statistics(sae: Any) -> dict[str, Tensor]:
    """Encoder norm, encoder-decoder cosine and, where there is one, encoder bias; arrays of F."""
    W_enc_DF, W_dec_FD = sae.W_enc.float(), sae.W_dec.float()
    out = {
        "encoder_norm": W_enc_DF.norm(dim=0),
        "encoder_decoder_cosine_sim": functional.cosine_similarity(W_dec_FD, W_enc_DF.T),
    }
    b_enc_F = getattr(sae, "b_enc", None)
    return out if b_enc_F is None else {**out, "encoder_bias": b_enc_F.float()}
