"""Standard SAE: a ReLU encoder with an L1 penalty (Bricken et al. 2023; reference §2.2, §1.6).

Legend: B batch, D d_in, F d_sae, N dead latents.
"""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from pyworker.errors import WorkerError
from pyworker.kernels import SparseCode, encode_select
from pyworker.protocol.sae_config import StandardTrainingSAEConfig
from pyworker.saes.activations import activation_function, topk_activation_k
from pyworker.saes.adaptive import AdaptiveTrainingSAE
from pyworker.saes.base import SAE
from pyworker.saes.config import SAEConfig
from pyworker.saes.mse import squared_error
from pyworker.saes.training import Coefficient, Forward, StepInput

GHOST_EPSILON = 1e-6
ZERO_BELOW_ZERO = ("relu", "tanh-relu")
"""Activation functions without negative latents, and without any where the pre-activation is negative."""


class StandardSAE(SAE):
    """``a = activation(x_c · W_enc + b_enc)``. SAELens knows only ReLU; other activations keep a name of
    their own."""

    def __init__(self, cfg: SAEConfig):
        super().__init__(cfg)
        options = cfg.options
        self.activation = activation_function(
            options.get("activation_fn", "relu"), options.get("activation_fn_kwargs", {})
        )

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode]:
        return encode_select(rows_BD, self.b_dec_in, self.W_enc, self.b_enc, self.activation)

    @override
    def fold_W_dec_norm(self) -> None:
        if self.activation is not torch.relu:
            raise WorkerError(
                "SAE_INVALID",
                f"fold_W_dec_norm: {self.cfg.options['activation_fn']} does not scale with its input",
                hint="use it as it is, or train with relu",
            )
        super().fold_W_dec_norm()

    @override
    def weight_histograms(self) -> dict[str, Tensor]:
        return {**super().weight_histograms(), "weights/b_e": self.b_enc.detach()}


class StandardTrainingSAE(AdaptiveTrainingSAE, StandardSAE):
    """Penalises the p-norm of the latents; ghost gradients revive dead ones where asked for."""

    training_cfg: StandardTrainingSAEConfig

    @override
    @staticmethod
    def inference_options(training_cfg: StandardTrainingSAEConfig) -> dict[str, Any]:
        if training_cfg.activation_fn == "relu":
            return {}
        return {
            "activation_fn": training_cfg.activation_fn,
            "activation_fn_kwargs": training_cfg.activation_fn_kwargs,
        }

    def inference_config(self) -> SAEConfig:
        """A ``topk`` activation is a TopK SAE. Of ``tanh-relu`` and ``gelu`` SAELens knows nothing: it
        would load them as ReLU without a word (golden/README.md, trap 13), so their
        architecture has a name it refuses."""
        cfg = super().inference_config()
        activation = self.training_cfg.activation_fn
        if activation == "topk":
            cfg.architecture = "topk"
            k = topk_activation_k(self.training_cfg.activation_fn_kwargs)
            cfg.options = {"k": k, "rescale_acts_by_decoder_norm": False}
        elif activation != "relu":
            cfg.architecture = f"standard_{activation}"
        return cfg

    @override
    def coefficients(self) -> dict[str, Coefficient]:
        return {"l1": Coefficient(self.training_cfg.l1_coefficient, self.training_cfg.l1_warm_up_steps)}

    @override
    def has_bounds(self) -> bool:
        return self.training_cfg.activation_fn in ZERO_BELOW_ZERO

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode]:
        pre = self.pre_activations(rows_BD, self.b_enc)
        return pre.with_values(self.activation(pre.values)), pre

    @override
    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        cfg = self.training_cfg
        losses = {"l1_loss": (step.coefficients["l1"] * self._sparsity(forward.code)).mean()}
        if cfg.use_ghost_grads:
            losses["ghost_grad_loss"] = self._ghost_grad_loss(step, forward)
        return losses

    def _sparsity(self, code: SparseCode) -> Tensor:
        """The p-norm of each row: ``[B]``."""
        cfg = self.training_cfg
        norms_F = self.W_dec.norm(dim=1) if cfg.scale_sparsity_penalty_by_decoder_norm else None
        if cfg.lp_norm == 1 and cfg.activation_fn in ZERO_BELOW_ZERO:  # no latent is negative
            return code.row_sums() if norms_F is None else code.weighted_sums(norms_F)
        return (code if norms_F is None else code.weighted(norms_F)).row_norms(cfg.lp_norm)

    def _ghost_grad_loss(self, step: StepInput, forward: Forward) -> Tensor:
        """Let dead latents explain the residual through an exponential (Jermyn & Templeton 2024).

        Its value says nothing, by construction: the scale makes it the main error again. Only its gradient
        counts.
        """
        residual_BD = forward.x_BD - forward.reconstruction_BD
        dead_N = step.dead_latents()
        ghost_BD = torch.exp(self.pre_activations_of(forward, dead_N)) @ self.W_dec[dead_N]
        size_B1 = residual_BD.norm(dim=-1, keepdim=True)
        scale_B1 = size_B1 / (GHOST_EPSILON + 2 * ghost_BD.norm(dim=-1, keepdim=True))
        ghost_BD = ghost_BD * scale_B1.detach()
        error_BD = squared_error(ghost_BD, residual_BD.detach(), self.training_cfg.mse_loss_normalization)
        weight_BD = (forward.squared_error_BD / (error_BD + GHOST_EPSILON)).detach()
        return (weight_BD * error_BD).mean()
