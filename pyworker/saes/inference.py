"""From the SAE in training to the SAE that is saved: same function, inference form, on raw activations."""

from typing import Protocol

import torch

from pyworker.saes.base import SAE
from pyworker.saes.registry import inference_class
from pyworker.saes.topk import TopKSAE
from pyworker.saes.training import TrainingSAE


class FoldsInto(Protocol):
    """Something the trainer does to activations that can be folded into weights."""

    def fold_into(self, sae: SAE) -> None:
        """Change the weights of ``sae`` so that it takes activations as they are."""
        ...


@torch.no_grad()
def to_inference(sae: TrainingSAE, scaler: FoldsInto) -> SAE:
    """A folded copy; training goes on undisturbed.

    Scaling of activations, fine-tuning factors and, for TopK, decoder norms are folded. SAELens writes a
    TopK SAE the same way: unit decoder rows, ``rescale_acts_by_decoder_norm`` kept.
    """
    cfg = sae.inference_config()
    folded = inference_class(cfg.architecture)(cfg)
    # The threshold of a JumpReLU SAE is trained in float32 and saved in the type of the SAE.
    folded.load_state_dict(sae.inference_state())
    if sae.finetuning_scaling_factor is not None:
        folded.fold_latent_factors(sae.finetuning_scaling_factor)
    scaler.fold_into(folded)
    # Whitening has folded the norms of a TopK SAE already; a BatchTopK SAE is none any more.
    scaled = folded if isinstance(folded, TopKSAE) else sae
    if isinstance(scaled, TopKSAE) and scaled.rescales:
        folded.fold_W_dec_norm()
    return folded.requires_grad_(False)
