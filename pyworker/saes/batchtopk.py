"""BatchTopK SAE: the k·B largest latents of a whole batch (Bussmann, Leask & Nanda 2024; reference §2.6).

A batch is no property of a deployed SAE, so training follows the smallest value that was let through; the finished
SAE is a JumpReLU SAE with that threshold, and evaluations see it as such.

Legend: B batch, F d_sae.
"""

from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from pyworker.errors import WorkerError
from pyworker.kernels import SparseCode, batch_top_k, encode_batch_top_k
from pyworker.protocol.sae_config import BatchTopKTrainingSAEConfig, MatryoshkaBatchTopKTrainingSAEConfig
from pyworker.saes.config import SAEConfig
from pyworker.saes.topk import TopKSAE, TopKTrainingSAE
from pyworker.saes.training import StepInput, StepOutput


class BatchTopKTrainingSAE(TopKTrainingSAE):
    """``topk_threshold`` is in the units that latents are compared in: times the decoder norm, where that is asked."""

    training_cfg: BatchTopKTrainingSAEConfig | MatryoshkaBatchTopKTrainingSAEConfig  # type: ignore[assignment]
    topk_threshold: Tensor

    def __init__(self, training_cfg: Any, generator: Generator):
        super().__init__(training_cfg, generator)
        # In float64: a mean that moves by a hundredth of a difference loses it in less.
        self.register_buffer("topk_threshold", torch.zeros((), dtype=torch.float64, device=self.W_dec.device))

    @override
    def chooses_index(self, autocast: bool = False) -> bool:
        """On a GPU only where it is asked for: each block of rows would wait for the bound of the one before."""
        cfg = self.training_cfg
        asked = cfg.kernels == "sparse" or cfg.use_sparse_activations
        return super().chooses_index(autocast) and (asked or torch.device(cfg.device).type == "cpu")

    @override
    def selection(self) -> Any:
        """Over the batch while training; as deployed otherwise."""
        if self.training:
            return partial(batch_top_k, k=self.training_cfg.k)
        threshold = self.topk_threshold.item()
        return lambda z_BF: torch.relu(z_BF) * (z_BF > threshold)

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode | None]:
        if not (self.by_index and self.training):
            return TopKSAE.encode_rows(self, rows_BD)
        scale_F = self.W_dec.norm(dim=1) if self.rescales else None
        compared_F = None if scale_F is None else scale_F.detach()
        pre = encode_batch_top_k(
            rows_BD, self.b_dec_in, self.W_enc, self.b_enc, compared_F, self.training_cfg.k
        )
        return pre if scale_F is None else pre.weighted(scale_F), None

    @property
    @override
    def code_is_scaled(self) -> bool:
        return self.rescales  # the threshold follows the latents in the units they are compared in

    @override
    def training_forward(self, step: StepInput) -> StepOutput:
        output = super().training_forward(step)
        self._follow(output.code)
        output.metrics["topk_threshold"] = self.topk_threshold
        return output

    @torch.no_grad()
    def _follow(self, code: SparseCode) -> None:
        """Move the threshold towards the smallest latent that this batch let through, if there is one."""
        rate = self.training_cfg.topk_threshold_lr
        smallest = code.smallest_positive().to(self.topk_threshold)
        moved = (1 - rate) * self.topk_threshold + rate * smallest
        self.topk_threshold.copy_(torch.where(torch.isfinite(smallest), moved, self.topk_threshold))

    @override
    @torch.no_grad()
    def fold_scaling_factor(self, factor: float) -> None:
        super().fold_scaling_factor(factor)
        if self.rescales:  # the decoder norms became smaller, and with them what is compared
            self.topk_threshold.div_(factor)

    @override
    def inference_config(self) -> SAEConfig:
        cfg = super().inference_config()
        cfg.architecture, cfg.options = "jumprelu", {}
        return cfg

    @override
    def inference_state(self) -> dict[str, Tensor]:
        """The threshold of each latent in the units of its pre-activation."""
        state = super().inference_state()
        threshold_F = state.pop("topk_threshold").expand(self.cfg.d_sae)
        if self.rescales:
            threshold_F = threshold_F / self.W_dec.detach().norm(dim=1).double()
        return {**state, "threshold": threshold_F.to(self.W_dec.dtype)}

    @override
    def training_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Raises WorkerError SAE_INVALID where latents have thresholds of their own: one for all is what is trained."""
        threshold_F = state["threshold"].double()
        if self.rescales:
            threshold_F = threshold_F * state["W_dec"].norm(dim=1).double()
        if not torch.allclose(threshold_F, threshold_F.mean(), rtol=1e-4):
            raise WorkerError(
                "SAE_INVALID",
                f"from_pretrained_path: the thresholds of the SAE reach from {threshold_F.min():.4g} to "
                f"{threshold_F.max():.4g}; {self.cfg.architecture} trains one for all latents",
                hint="Train it on as jumprelu.",
            )
        weights = {name: tensor for name, tensor in state.items() if name != "threshold"}
        return {**weights, "topk_threshold": threshold_F.mean()}
