"""Gated SAE: one path decides which latents are active, another how much (Rajamanoharan et al. 2024;
reference §2.3).

Legend: B batch, D d_in, F d_sae.
"""

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.kernels import SparseCode, decode, encode
from pyworker.protocol.sae_config import GatedTrainingSAEConfig
from pyworker.saes.adaptive import AdaptiveTrainingSAE
from pyworker.saes.base import SAE
from pyworker.saes.training import Coefficient, Forward, StepInput


class GatedSAE(SAE):
    """``a = 1[x_c·W_enc + b_gate > 0] · ReLU(x_c·(W_enc·exp(r_mag)) + b_mag)``. The gate passes no
    gradient."""

    latent_parameters = ("b_gate", "b_mag", "r_mag")
    latent_offsets = ("b_gate", "b_mag")

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode]:
        # Both paths share one product, as in the paper: x·(W·exp(r)) = (x·W)·exp(r).
        projection = self.project(rows_BD)
        open_ = self.gate(projection).values > 0
        return projection.with_values(open_ * torch.relu(self.magnitude(projection).values)), projection

    def project(self, rows_BD: Tensor) -> SparseCode:
        """``x_c · W_enc``."""
        return SparseCode(encode(rows_BD, self.b_dec_in, self.W_enc, torch.zeros_like(self.b_gate)))

    def gate(self, projection: SparseCode) -> SparseCode:
        """The path that says which latents are active."""
        return projection.with_values(projection.values + projection.beside(self.b_gate))

    def magnitude(self, projection: SparseCode) -> SparseCode:
        """The path that says how much."""
        factor, offset = projection.beside(self.r_mag.exp()), projection.beside(self.b_mag)
        return projection.with_values(projection.values * factor + offset)

    @override
    def shift_latents(self, shift_F: Tensor) -> None:
        self.b_gate.add_(shift_F.to(self.b_gate.dtype))
        self.b_mag.add_((shift_F * self.r_mag.exp()).to(self.b_mag.dtype))

    @override
    def weight_histograms(self) -> dict[str, Tensor]:
        biases = {"weights/b_gate": self.b_gate.detach(), "weights/b_mag": self.b_mag.detach()}
        return {**super().weight_histograms(), **biases}


class GatedTrainingSAE(AdaptiveTrainingSAE, GatedSAE):
    """Has no place for ``noise_scale``: SAELens never added noise to a gated SAE (golden/README.md, trap
    4)."""

    training_cfg: GatedTrainingSAEConfig
    draws_encoder_first = True

    @override
    def coefficients(self) -> dict[str, Coefficient]:
        return {"l1": Coefficient(self.training_cfg.l1_coefficient, self.training_cfg.l1_warm_up_steps)}

    @override
    def bounds(self) -> Tensor:
        """``p + b_gate > 0`` where ``p > -b_gate``, in floating point too."""
        return -self.b_gate.detach()

    @override
    def project(self, rows_BD: Tensor) -> SparseCode:
        return self.pre_activations(rows_BD, torch.zeros_like(self.b_gate))

    @override
    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        # Both losses see the raw input, also under run-time normalisation, as in both versions of SAELens
        # (trap 9).
        projection = forward.pre
        if projection is None or forward.rows is not None:
            projection = self.project(forward.x_BD.to(self.W_dec.dtype))
        gate = self.gate(projection)
        gate_code = gate.with_values(torch.relu(gate.values))
        sparsity_B = gate_code.weighted_sums(self.W_dec.norm(dim=1))
        via_gate_BD = decode(gate_code, self.W_dec) + self.b_dec
        return {
            "l1_loss": step.coefficients["l1"] * sparsity_B.mean(),
            "auxiliary_reconstruction_loss": (via_gate_BD - forward.x_BD).square().sum(dim=-1).mean(),
        }
