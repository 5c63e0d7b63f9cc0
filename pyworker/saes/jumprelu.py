"""JumpReLU SAE: latents above a learned threshold (Rajamanoharan et al. 2024; reference §2.4).

The threshold gets its gradient from a straight-through estimator: a rectangle of width ``bandwidth``
around it.

Legend: B batch, D d_in, F d_sae.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from typing_extensions import override

from pyworker.kernels import SparseCode, encode_select
from pyworker.protocol.sae_config import JumpReLUTrainingSAEConfig
from pyworker.saes.adaptive import AdaptiveTrainingSAE
from pyworker.saes.base import SAE
from pyworker.saes.training import Coefficient, Forward, StepInput


def in_window(z_BF: Tensor, threshold_F: Tensor, bandwidth: float) -> Tensor:
    """Whether ``|z - θ| < bandwidth / 2``, strictly."""
    return ((z_BF - threshold_F) / bandwidth).abs() < 0.5


class JumpReLU(Function):
    """``z · 1[z > θ]``."""

    @override
    @staticmethod
    def forward(ctx: Any, z_BF: Tensor, threshold_F: Tensor, bandwidth: float, ste_to_input: bool) -> Tensor:
        ctx.save_for_backward(z_BF, threshold_F)
        ctx.bandwidth, ctx.ste_to_input = bandwidth, ste_to_input
        return z_BF * (z_BF > threshold_F)

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        z_BF, threshold_F = ctx.saved_tensors
        window_BF = in_window(z_BF, threshold_F, ctx.bandwidth) * grads[0] * (threshold_F / ctx.bandwidth)
        grad_z_BF = (z_BF > threshold_F) * grads[0]
        if ctx.ste_to_input:
            grad_z_BF = grad_z_BF + window_BF
        return grad_z_BF, -window_BF.sum_to_size(threshold_F.shape), None, None


class Step(Function):
    """``1[z > θ]``."""

    @override
    @staticmethod
    def forward(ctx: Any, z_BF: Tensor, threshold_F: Tensor, bandwidth: float, ste_to_input: bool) -> Tensor:
        ctx.save_for_backward(z_BF, threshold_F)
        ctx.bandwidth, ctx.ste_to_input = bandwidth, ste_to_input
        return (z_BF > threshold_F).to(z_BF)

    @override
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        z_BF, threshold_F = ctx.saved_tensors
        window_BF = in_window(z_BF, threshold_F, ctx.bandwidth) * grads[0] / ctx.bandwidth
        return (
            (window_BF if ctx.ste_to_input else None),
            -window_BF.sum_to_size(threshold_F.shape),
            None,
            None,
        )


class JumpReLUSAE(SAE):
    """``a = ReLU(z) · 1[z > θ]``."""

    latent_parameters = ("b_enc", "threshold")
    latent_offsets = ("b_enc", "threshold")

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode]:
        threshold_F = self.threshold
        return encode_select(
            rows_BD,
            self.b_dec_in,
            self.W_enc,
            self.b_enc,
            lambda z_BF: torch.relu(z_BF) * (z_BF > threshold_F),
        )


class JumpReLUTrainingSAE(AdaptiveTrainingSAE, JumpReLUSAE):
    """v6 trains ``threshold`` itself, kept at 0 or above; v5 trained its logarithm. Both in float32: a
    step of Adam would be rounded away in bfloat16."""

    training_cfg: JumpReLUTrainingSAEConfig

    def __init__(self, training_cfg: JumpReLUTrainingSAEConfig, generator: torch.Generator):
        super().__init__(training_cfg, generator)
        self.is_log = training_cfg.vocabulary == "v5"
        start_F = torch.full_like(self.b_enc, training_cfg.jumprelu_init_threshold, dtype=torch.float32)
        del self.threshold
        name = "log_threshold" if self.is_log else "threshold"
        self.register_parameter(name, nn.Parameter(start_F.log() if self.is_log else start_F))

    def theta(self, like: Tensor) -> Tensor:
        """The threshold in the type of the pre-activations, with its gradient."""
        return (self.log_threshold.exp() if self.is_log else self.threshold).to(like.dtype)

    @override
    @torch.no_grad()
    def constrain(self) -> None:
        super().constrain()
        if not self.is_log:
            # On the weights and not in the graph, where a latent at zero would lose its gradient for good.
            self.threshold.clamp_(min=0)

    @override
    def inference_state(self) -> dict[str, Tensor]:
        state = super().inference_state()
        if self.is_log:
            state["threshold"] = state.pop("log_threshold").exp()
        return state

    @override
    def training_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        if not self.is_log:
            return state
        return {
            "log_threshold": state["threshold"].log(),
            **{k: v for k, v in state.items() if k != "threshold"},
        }

    @override
    def coefficients(self) -> dict[str, Coefficient]:
        return {"l0": Coefficient(self.training_cfg.l0_coefficient, self.training_cfg.l0_warm_up_steps)}

    @override
    def bounds(self) -> Tensor:
        """The lower edges of the windows, and a little less, so that rounding cuts nothing off."""
        return self.theta(self.W_dec).detach() - (0.5 + 1e-3) * self.training_cfg.jumprelu_bandwidth

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode]:
        pre = self.pre_activations(rows_BD, self.b_enc)
        return pre.with_values(self._at_threshold(JumpReLU, pre)), pre

    def _at_threshold(self, function: type[Function], pre: SparseCode) -> Tensor:
        """:class:`JumpReLU` or :class:`Step` of pre-activations."""
        cfg, theta_F = self.training_cfg, self.theta(pre.values)
        return function.apply(  # type: ignore[return-value]
            pre.values, pre.beside(theta_F), cfg.jumprelu_bandwidth, cfg.jumprelu_ste_to_input
        )

    @override
    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        penalty_B = self._sparsity(forward)
        losses = {"l0_loss": (step.coefficients["l0"] * penalty_B).mean()}
        if self.training_cfg.pre_act_loss_coefficient is not None:
            losses["pre_act_loss"] = self.training_cfg.pre_act_loss_coefficient * self._pre_act_loss(
                step, forward
            )
        return losses

    def _sparsity(self, forward: Forward) -> Tensor:
        """What is penalised in each row: its L0, its squared distance from ``target_l0``, or a tanh of the
        latents."""
        cfg = self.training_cfg
        if cfg.jumprelu_sparsity_loss_mode == "tanh":
            weighted = forward.code.weighted(self.W_dec.norm(dim=1))
            return weighted.with_values(torch.tanh(cfg.jumprelu_tanh_scale * weighted.values)).row_sums()
        assert forward.pre is not None
        l0_B = forward.pre.with_values(self._at_threshold(Step, forward.pre)).row_sums()
        if cfg.jumprelu_sparsity_loss_mode == "step":
            return l0_B
        assert cfg.target_l0 is not None
        return 2 / cfg.target_l0 * (l0_B - cfg.target_l0).square()

    def _pre_act_loss(self, step: StepInput, forward: Forward) -> Tensor:
        """Pull the pre-activations of dead latents towards their threshold (Anthropic, January 2025)."""
        dead_N = step.dead_latents()
        z_BN = self.pre_activations_of(forward, dead_N)
        missing_BN = torch.relu(self.theta(z_BN)[dead_N] - z_BN) * self.W_dec[dead_N].norm(dim=1)
        return missing_BN.sum(dim=-1).mean()
