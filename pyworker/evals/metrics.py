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


Sums = dict[str, Tensor]
"""Sums over the tokens of a batch, float64, by name; those of several batches add up."""


def summed(values: Tensor) -> Tensor:
    """Sum and count of one value for each token that has one, ``[2]``."""
    return torch.stack([exact(values).sum().cpu(), torch.tensor(float(values.numel()), dtype=torch.float64)])


def mean(sums: Sums, name: str) -> float:
    """The mean behind :func:`summed`; NaN before the first value."""
    total, count = sums.get(name, torch.zeros(2)).tolist()
    return ratio(total, count)


def cross_entropy(logits_PCV: Tensor, tokens_PC: Tensor) -> Tensor:
    """Next-token cross entropy in nats, ``[P, C - 1]``: position c is scored on token c + 1."""
    log_p = functional.log_softmax(logits_PCV[:, :-1].float(), dim=-1)
    return -log_p.gather(-1, tokens_PC[:, 1:, None].to(log_p.device)).squeeze(-1)


def kl_divergence(original_PCV: Tensor, new_PCV: Tensor) -> Tensor:
    """KL(original ‖ new) in nats, ``[P, C]``."""
    log_p = functional.log_softmax(original_PCV.float(), dim=-1)
    log_q = functional.log_softmax(new_PCV.float(), dim=-1)
    return functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(dim=-1)


class BatchMetrics:
    """Metrics that follow from sums over tokens, which are kept for each batch: so each can be left out again."""

    def __init__(self) -> None:
        self._batches: list[Sums] = []

    @property
    def n_batches(self) -> int:
        """How many were added."""
        return len(self._batches)

    def compute(self) -> dict[str, float]:
        """``group/metric`` to value, of all batches."""
        return self._of(self._total())

    def without_each(self) -> list[dict[str, float]]:
        """The same of all batches but one, for each."""
        total = self._total()
        return [
            self._of({name: total[name] - batch.get(name, 0) for name in total}) for batch in self._batches
        ]

    def _total(self) -> Sums:
        total: Sums = {}
        for batch in self._batches:
            for name, value in batch.items():
                total[name] = total[name] + value if name in total else value
        return total

    def _of(self, sums: Sums) -> dict[str, float]:
        raise NotImplementedError


class ModelMetrics(BatchMetrics):
    """What the model loses when the SAE, or nothing at all, stands in for the activations."""

    def __init__(self, *, ce_loss: bool, kl: bool) -> None:
        super().__init__()
        self.ce = ("with_sae", "without_sae", "with_ablation") if ce_loss else ()
        self.kl = ("with_sae", "with_ablation") if kl else ()

    def begin_batch(self) -> None:
        """What is added from now on is another batch."""
        self._batches.append({})

    def add(self, tokens_PC: Tensor, kept_PC: Tensor, logits_PCV: dict[str, Tensor]) -> None:
        """Add prompts to the batch that was begun.

        Args:
            tokens_PC: token ids.
            kept_PC: which input tokens count; cross entropy scores a kept token on the one after it.
            logits_PCV: under ``without_sae``, ``with_sae`` and ``with_ablation``.
        """
        sums: Sums = {}
        for name in self.ce:
            loss = cross_entropy(logits_PCV[name], tokens_PC)
            sums[f"ce_loss_{name}"] = summed(loss[kept_PC[:, :-1].to(loss.device)])
        for name in self.kl:
            divergence = kl_divergence(logits_PCV["without_sae"], logits_PCV[name])
            sums[f"kl_div_{name}"] = summed(divergence[kept_PC.to(divergence.device)])
        batch = self._batches[-1]
        for name, value in sums.items():
            batch[name] = batch[name] + value if name in batch else value

    def _of(self, sums: Sums) -> dict[str, float]:
        out: dict[str, float] = {}
        if self.kl:
            sae, ablation = mean(sums, "kl_div_with_sae"), mean(sums, "kl_div_with_ablation")
            group = "model_behavior_preservation"
            out[f"{group}/kl_div_score"] = ratio(ablation - sae, ablation)
            out[f"{group}/kl_div_with_ablation"] = ablation
            out[f"{group}/kl_div_with_sae"] = sae
        if self.ce:
            sae, ablation = mean(sums, "ce_loss_with_sae"), mean(sums, "ce_loss_with_ablation")
            clean = mean(sums, "ce_loss_without_sae")
            group = "model_performance_preservation"
            out[f"{group}/ce_loss_score"] = ratio(ablation - sae, ablation - clean)
            out[f"{group}/ce_loss_with_ablation"] = ablation
            out[f"{group}/ce_loss_with_sae"] = sae
            out[f"{group}/ce_loss_without_sae"] = clean
        return out


class ReconstructionMetrics(BatchMetrics):
    """How well the SAE gives the activations back, and how sparsely."""

    def __init__(self, *, l2_norms: bool, sparsity: bool, variance: bool) -> None:
        super().__init__()
        self.l2_norms, self.sparsity, self.variance = l2_norms, sparsity, variance

    def add(self, x_ND: Tensor, latents_NF: Tensor, x_hat_ND: Tensor) -> None:
        """Add the kept tokens of a batch: activations, latents, reconstructions."""
        x, x_hat = x_ND.float(), x_hat_ND.float().to(x_ND.device)
        values: dict[str, Tensor] = {}
        sums: Sums = {}
        if self.l2_norms:
            norm_in, norm_out = x.norm(dim=-1), x_hat.norm(dim=-1)
            values["l2_norm_in"], values["l2_norm_out"] = norm_in, norm_out
            values["l2_ratio"] = norm_out / torch.where(norm_in < 1e-4, 1.0, norm_in)
            # Equation 10 of https://arxiv.org/abs/2404.16014: one value for the batch.
            along = (x * x_hat).sum(dim=-1).mean()
            bias = norm_out.square().mean() / along
            values["relative_reconstruction_bias"] = bias[None][: int(len(x) > 0 and along != 0)]
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
            sums.update(variance_sums(x, x_hat))
        self._batches.append({**sums, **{name: summed(value) for name, value in values.items()}})

    def _of(self, sums: Sums) -> dict[str, float]:
        out: dict[str, float] = {}
        if self.variance:
            out["reconstruction_quality/explained_variance"] = explained_variance(sums)
            for name in ("explained_variance_legacy", "mse", "cossim"):
                out[f"reconstruction_quality/{name}"] = mean(sums, name)
        if self.l2_norms:
            for name in ("l2_norm_in", "l2_norm_out", "l2_ratio", "relative_reconstruction_bias"):
                out[f"shrinkage/{name}"] = mean(sums, name)
        if self.sparsity:
            out["sparsity/l0"], out["sparsity/l1"] = mean(sums, "l0"), mean(sums, "l1")
        return out


def variance_sums(x_ND: Tensor, x_hat_ND: Tensor) -> Sums:
    """What :func:`explained_variance` needs of a batch.

    All sums are float64, those within a batch too: with a large mean the variance is a difference of nearly
    equal numbers (SAELens sums a batch in float32 and is off by 0.04 there).
    """
    x, x_hat = exact(x_ND), exact(x_hat_ND)
    squares = torch.stack([x.square().sum(), (x - x_hat).square().sum()]).cpu()
    return {"x_D": x.sum(dim=0).cpu(), "squares": squares, "rows": torch.tensor(float(len(x)))}


def explained_variance(sums: Sums) -> float:
    """``1 − E‖x − x̂‖² / (E‖x‖² − ‖E x‖²)``; every row weighs the same.

    NaN without rows; for rows that are all the same, 1 when they are reconstructed and 0 when not.
    """
    count = sums["rows"].item() if "rows" in sums else 0
    if count == 0:
        return math.nan
    squared_norm, squared_residual = (sums["squares"] / count).tolist()
    variance = squared_norm - (sums["x_D"] / count).square().sum().item()
    if variance < 1e-10:
        return 1.0 if squared_residual < 1e-10 else 0.0
    return 1.0 - squared_residual / variance


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


def misc_metrics(density_F: Tensor) -> dict[str, float]:
    """What SAEBench's core evaluation says of how often latents fire (sae_bench/evals/core, ``misc_metrics``).

    Shares of the latents that fire at all, in more than 1 % and in more than 10 % of the tokens, and the share of all
    firings that is theirs.
    """
    density_F = density_F.double()
    out = {"misc_metrics/frac_alive": (density_F > 0).double().mean().item()}
    for name, least in (("1_percent", 0.01), ("10_percent", 0.1)):
        often_F = density_F > least
        out[f"misc_metrics/freq_over_{name}"] = often_F.double().mean().item()
        out[f"misc_metrics/normalized_freq_over_{name}"] = ratio(
            density_F[often_F].sum().item(), density_F.sum().item()
        )
    return out
