"""The arithmetic of the evaluation metrics, apart from any model (formulas: SAELens 6.54 evals.py).

Everything is in unscaled space and over the kept tokens. A quotient whose denominator is zero is NaN:
the quantity is not defined there (ablation changes nothing, nothing fired, no token was kept).

Shapes: P prompts, C context, V vocabulary, N kept tokens, D d_in, F latents.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN where it is not defined."""
    return numerator / denominator if denominator != 0 else math.nan


def exact(x: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none (mps)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


class Mean:
    """The mean over tokens of all batches, summed in float64."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, values: Tensor) -> None:
        """Add one value for each token that has one."""
        self.total += exact(values).sum().item()
        self.count += values.numel()

    @property
    def value(self) -> float:
        """NaN before the first value."""
        return ratio(self.total, self.count)


def cross_entropy(logits_PCV: Tensor, tokens_PC: Tensor) -> Tensor:
    """Next-token cross entropy in nats, ``[P, C - 1]``: position c is scored on token c + 1."""
    log_p = functional.log_softmax(logits_PCV[:, :-1].float(), dim=-1)
    return -log_p.gather(-1, tokens_PC[:, 1:, None].to(log_p.device)).squeeze(-1)


def kl_divergence(original_PCV: Tensor, new_PCV: Tensor) -> Tensor:
    """KL(original ‖ new) in nats, ``[P, C]``."""
    log_p = functional.log_softmax(original_PCV.float(), dim=-1)
    log_q = functional.log_softmax(new_PCV.float(), dim=-1)
    return functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(dim=-1)


class ExplainedVariance:
    """``1 − E‖x − x̂‖² / (E‖x‖² − ‖E x‖²)``, streamed; every row weighs the same.

    All sums are float64, those within a batch too: with a large mean the variance is a difference of nearly
    equal numbers (SAELens sums a batch in float32 and is off by 0.04 there).
    """

    def __init__(self) -> None:
        self.sum_D: Tensor | float = 0.0
        self.squared_norm = self.squared_residual = 0.0
        self.count = 0

    def add(self, x_ND: Tensor, x_hat_ND: Tensor) -> None:
        """Add the rows of a batch and their reconstructions."""
        x, x_hat = exact(x_ND), exact(x_hat_ND)
        self.sum_D = self.sum_D + x.sum(dim=0)
        self.squared_norm += x.square().sum().item()
        self.squared_residual += (x - x_hat).square().sum().item()
        self.count += len(x)

    @property
    def value(self) -> float:
        """NaN without rows; for rows that are all the same, 1 when they are reconstructed and 0 when not."""
        if not isinstance(self.sum_D, Tensor) or self.count == 0:
            return math.nan
        variance = self.squared_norm / self.count - (self.sum_D / self.count).square().sum().item()
        residual = self.squared_residual / self.count
        if variance < 1e-10:
            return 1.0 if residual < 1e-10 else 0.0
        return 1.0 - residual / variance


class ModelMetrics:
    """What the model loses when the SAE, or nothing at all, stands in for the activations."""

    def __init__(self, *, ce_loss: bool, kl: bool) -> None:
        self.ce = {name: Mean() for name in ("with_sae", "without_sae", "with_ablation")} if ce_loss else {}
        self.kl = {name: Mean() for name in ("with_sae", "with_ablation")} if kl else {}

    def add(self, tokens_PC: Tensor, kept_PC: Tensor, logits_PCV: dict[str, Tensor]) -> None:
        """Add a batch.

        Args:
            tokens_PC: token ids.
            kept_PC: which input tokens count; cross entropy scores a kept token on the one after it.
            logits_PCV: under ``without_sae``, ``with_sae`` and ``with_ablation``.
        """
        for name, mean in self.ce.items():
            loss = cross_entropy(logits_PCV[name], tokens_PC)
            mean.add(loss[kept_PC[:, :-1].to(loss.device)])
        for name, mean in self.kl.items():
            divergence = kl_divergence(logits_PCV["without_sae"], logits_PCV[name])
            mean.add(divergence[kept_PC.to(divergence.device)])

    def compute(self) -> dict[str, float]:
        """``group/metric`` to value."""
        out: dict[str, float] = {}
        if self.kl:
            sae, ablation = self.kl["with_sae"].value, self.kl["with_ablation"].value
            group = "model_behavior_preservation"
            out[f"{group}/kl_div_score"] = ratio(ablation - sae, ablation)
            out[f"{group}/kl_div_with_ablation"] = ablation
            out[f"{group}/kl_div_with_sae"] = sae
        if self.ce:
            sae, ablation = self.ce["with_sae"].value, self.ce["with_ablation"].value
            clean = self.ce["without_sae"].value
            group = "model_performance_preservation"
            out[f"{group}/ce_loss_score"] = ratio(ablation - sae, ablation - clean)
            out[f"{group}/ce_loss_with_ablation"] = ablation
            out[f"{group}/ce_loss_with_sae"] = sae
            out[f"{group}/ce_loss_without_sae"] = clean
        return out


class ReconstructionMetrics:
    """How well the SAE gives the activations back, and how sparsely."""

    _PER_TOKEN = (
        "l2_norm_in",
        "l2_norm_out",
        "l2_ratio",
        "l0",
        "l1",
        "explained_variance_legacy",
        "mse",
        "cossim",
    )

    def __init__(self, *, l2_norms: bool, sparsity: bool, variance: bool) -> None:
        self.l2_norms, self.sparsity, self.variance = l2_norms, sparsity, variance
        self.means = {name: Mean() for name in self._PER_TOKEN}
        self.bias_of_batches: list[float] = []
        self.explained_variance = ExplainedVariance()

    def add(self, x_ND: Tensor, latents_NF: Tensor, x_hat_ND: Tensor) -> None:
        """Add the kept tokens of a batch: activations, latents, reconstructions."""
        x, x_hat = x_ND.float(), x_hat_ND.float().to(x_ND.device)
        values: dict[str, Tensor] = {}
        if self.l2_norms:
            norm_in, norm_out = x.norm(dim=-1), x_hat.norm(dim=-1)
            values["l2_norm_in"], values["l2_norm_out"] = norm_in, norm_out
            values["l2_ratio"] = norm_out / torch.where(norm_in < 1e-4, 1.0, norm_in)
            # Equation 10 of https://arxiv.org/abs/2404.16014, for each batch.
            along = (x * x_hat).sum(dim=-1).mean()
            if len(x) and along != 0:
                self.bias_of_batches.append((norm_out.square().mean() / along).item())
        if self.sparsity:
            values["l0"] = (latents_NF != 0).sum(dim=-1)
            values["l1"] = latents_NF.abs().sum(dim=-1)
        if self.variance:
            residual = (x - x_hat).square().sum(dim=-1)
            values["mse"] = residual
            # A row without a length has no direction, and one that is the mean of its batch no variance to explain.
            spread = (x - x.mean(dim=0)).square().sum(dim=-1)
            values["explained_variance_legacy"] = (1 - residual / spread)[spread != 0]
            norm, norm_hat = x.norm(dim=-1, keepdim=True), x_hat.norm(dim=-1, keepdim=True)
            cosine = (x / norm * (x_hat / norm_hat)).sum(dim=-1)
            values["cossim"] = cosine[(norm * norm_hat != 0).squeeze(-1)]
            self.explained_variance.add(x, x_hat)
        for name, value in values.items():
            self.means[name].add(value)

    def compute(self) -> dict[str, float]:
        """``group/metric`` to value."""
        mean = {name: m.value for name, m in self.means.items()}
        out: dict[str, float] = {}
        if self.variance:
            out["reconstruction_quality/explained_variance"] = self.explained_variance.value
            for name in ("explained_variance_legacy", "mse", "cossim"):
                out[f"reconstruction_quality/{name}"] = mean[name]
        if self.l2_norms:
            for name in ("l2_norm_in", "l2_norm_out", "l2_ratio"):
                out[f"shrinkage/{name}"] = mean[name]
            batches = self.bias_of_batches
            out["shrinkage/relative_reconstruction_bias"] = ratio(sum(batches), len(batches))
        if self.sparsity:
            out["sparsity/l0"], out["sparsity/l1"] = mean["l0"], mean["l1"]
        return out


class LatentDensity:
    """How often each latent fires, and how often within the prompts in which it fires at all."""

    def __init__(self) -> None:
        self.firings_F: Tensor | float = 0.0
        self.prompts_F: Tensor | float = 0.0
        self.n_tokens = 0

    def add(self, latents_PCF: Tensor, kept_PC: Tensor) -> None:
        """Add a batch; tokens that are not kept do not count."""
        fired_PCF = (latents_PCF != 0) & kept_PC[..., None].to(latents_PCF.device)
        self.firings_F = self.firings_F + fired_PCF.sum(dim=(0, 1))
        self.prompts_F = self.prompts_F + fired_PCF.any(dim=1).sum(dim=0)
        self.n_tokens += int(kept_PC.sum())

    def compute(self) -> dict[str, Tensor]:
        """Arrays of F values; the second is NaN for a latent that never fired."""
        firings = torch.as_tensor(self.firings_F)
        return {
            "feature_density": firings / self.n_tokens,
            "consistent_activation_heuristic": firings / torch.as_tensor(self.prompts_F),
        }
