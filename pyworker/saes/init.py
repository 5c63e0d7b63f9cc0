"""How the weights start (reference §1.6 and §2.1; draw order: golden/v5/init).

Everything is drawn on the CPU in float32 from one generator, so that the same seed gives the same weights
on every device and in every dtype.

Legend: D d_in, F d_sae.
"""

import torch
from torch import Generator, Tensor, nn

from pyworker.protocol.sae_config import TrainingSAEConfig


def initial_weights(
    cfg: TrainingSAEConfig, generator: Generator, encoder_first: bool
) -> tuple[Tensor, Tensor]:
    """Draw the encoder and the decoder.

    Args:
        cfg: its ``vocabulary`` decides the order of the draws: v5 drew the encoder once before and once
            after the decoder was shaped, v6 draws only what it keeps.
        encoder_first: v5 drew the gated encoder before the decoder.

    Returns:
        ``W_enc [D, F]`` and ``W_dec [F, D]``, float32 on the CPU.
    """
    assert cfg.d_in is not None and cfg.d_sae is not None
    encoder_shape, decoder_shape = (cfg.d_in, cfg.d_sae), (cfg.d_sae, cfg.d_in)
    if cfg.vocabulary == "v5" and encoder_first:
        _kaiming(encoder_shape, generator)
    W_dec_FD = _kaiming(decoder_shape, generator)
    if cfg.vocabulary == "v5" and not encoder_first:
        _kaiming(encoder_shape, generator)

    if cfg.decoder_orthogonal_init:
        W_dec_FD = nn.init.orthogonal_(W_dec_FD.T, generator=generator).T.contiguous()
    elif cfg.decoder_heuristic_init:
        W_dec_FD = torch.randn(decoder_shape, generator=generator)
        W_dec_FD = unit_rows(W_dec_FD) * cfg.decoder_heuristic_init_norm
    elif cfg.decoder_init_norm is not None:
        W_dec_FD = unit_rows(W_dec_FD) * cfg.decoder_init_norm

    # The transpose is taken before the rows are made unit, as SAELens v5 did (golden/README.md, trap 6).
    tied = cfg.init_encoder_as_decoder_transpose
    W_enc_DF = W_dec_FD.T.clone() if tied else _kaiming(encoder_shape, generator)
    if cfg.normalize_sae_decoder:
        W_dec_FD = unit_rows(W_dec_FD)
    return W_enc_DF.contiguous(), W_dec_FD


def unit_rows(W_dec_FD: Tensor) -> Tensor:
    """Every row divided by its Euclidean norm."""
    return W_dec_FD / W_dec_FD.norm(dim=1, keepdim=True)


def _kaiming(shape: tuple[int, int], generator: Generator) -> Tensor:
    """Uniform in ±sqrt(6 / number of columns) (He et al. 2015, gain √2)."""
    return nn.init.kaiming_uniform_(torch.empty(shape), generator=generator)


def seeded_generator(seed: int) -> Generator:
    """A CPU generator that gives what ``torch.manual_seed(seed)`` would."""
    return torch.Generator().manual_seed(seed)
