"""Evaluation of an SAE in place: in the language model it was made for, on held-out tokens.

Shapes: P prompts, C context, D d_in, F latents, V vocabulary, N kept tokens.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pyworker.evals.metrics import LatentDensity, ModelMetrics, ReconstructionMetrics
from pyworker.evals.weights import weight_statistics
from pyworker.lm.model import LanguageModel


class EvaluatedSAE(Protocol):
    """An SAE, trained or in training."""

    def encode(self, x: Tensor) -> Tensor:
        """latents_NF of x_ND."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """x̂_ND of latents_NF."""
        ...


class Scaler(Protocol):
    """What is done to activations before the SAE in training sees them, and undone after."""

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Activations as the SAE sees them."""
        ...

    def unscale(self, x_ND: Tensor) -> Tensor:
        """The way back."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Scalars by ``group/metric``, and, when asked for, arrays with one value for each latent."""

    metrics: dict[str, float]
    featurewise: dict[str, Tensor]


def run_evals(
    sae: EvaluatedSAE,
    lm: LanguageModel,
    token_batches: Iterable[Tensor],
    scaler: Scaler | None = None,
    *,
    hook_name: str | None = None,
    head_index: int | None = None,
    exclude_special_tokens: bool | list[int] = True,
    **compute: bool,
) -> dict[str, float]:
    """The scalars of :func:`evaluate`, which explains the arguments."""
    return evaluate(
        sae,
        lm,
        token_batches,
        scaler,
        hook_name=hook_name,
        head_index=head_index,
        exclude_special_tokens=exclude_special_tokens,
        **compute,
    ).metrics


@torch.no_grad()
def evaluate(
    sae: EvaluatedSAE,
    lm: LanguageModel,
    token_batches: Iterable[Tensor],
    scaler: Scaler | None = None,
    *,
    hook_name: str | None = None,
    head_index: int | None = None,
    exclude_special_tokens: bool | list[int] = True,
    compute_ce_loss: bool = True,
    compute_kl: bool = False,
    compute_l2_norms: bool = True,
    compute_sparsity_metrics: bool = True,
    compute_variance_metrics: bool = True,
    compute_featurewise: bool = False,
) -> Evaluation:
    """Evaluate on every batch. The defaults compute what SAELens logs while it trains.

    One clean pass gives both the activations and the logits to compare with; without model metrics it ends at
    the hook. With them, two more passes: the SAE's reconstruction at the kept tokens, and zeros at all.

    Args:
        sae: put in evaluation mode meanwhile.
        lm: the language model.
        token_batches: tokens_PC, each batch of any size.
        scaler: as in training; None for an SAE that takes raw activations.
        hook_name: None for the hook of the language model's configuration, with its head.
        head_index: one head of a per-head hook.
        exclude_special_tokens: True leaves the tokenizer's special tokens out, a list those ids, False none.
        compute_ce_loss: cross entropy, the score included.
        compute_kl: KL divergence to the whole model.
        compute_l2_norms: norms and shrinkage.
        compute_sparsity_metrics: l0, l1.
        compute_variance_metrics: explained variance, mse, cosine.
        compute_featurewise: densities and weight statistics of each latent.

    Returns:
        the metrics, with the number of tokens read under ``token_stats/``.
    """
    special = lm.special_token_ids() if exclude_special_tokens is True else exclude_special_tokens or []
    with_model = compute_ce_loss or compute_kl
    model = ModelMetrics(ce_loss=compute_ce_loss, kl=compute_kl)
    reconstruction = ReconstructionMetrics(
        l2_norms=compute_l2_norms, sparsity=compute_sparsity_metrics, variance=compute_variance_metrics
    )
    density = LatentDensity()
    n_tokens = 0
    with _evaluation_mode(sae):
        for tokens in token_batches:
            tokens_PC = tokens.to(lm.device)
            kept_PC = ~torch.isin(tokens_PC, torch.tensor(special, device=lm.device, dtype=tokens_PC.dtype))
            n_tokens += tokens_PC.numel()
            clean_PCV, x_PCD = _clean_pass(lm, tokens_PC, hook_name, head_index, with_model)
            latents_BF, x_hat_BD = _through(sae, scaler, x_PCD.flatten(0, 1))
            x_hat_PCD = x_hat_BD.to(x_PCD.device).unflatten(0, tokens_PC.shape)
            rows = kept_PC.flatten()
            reconstruction.add(x_PCD[kept_PC], latents_BF[rows.to(latents_BF.device)], x_hat_PCD[kept_PC])
            if compute_featurewise:
                density.add(latents_BF.unflatten(0, tokens_PC.shape), kept_PC)
            if clean_PCV is not None:
                substituted_PCD = torch.where(kept_PC[..., None], x_hat_PCD.to(x_PCD.dtype), x_PCD)
                logits = {
                    "without_sae": clean_PCV,
                    "with_sae": lm.logits(
                        tokens_PC, lambda _, new=substituted_PCD: new, hook_name, head_index
                    ),
                    "with_ablation": lm.logits(tokens_PC, torch.zeros_like, hook_name, head_index),
                }
                model.add(tokens_PC, kept_PC, logits)
        featurewise = {**density.compute(), **weight_statistics(sae)} if compute_featurewise else {}
    metrics = {**model.compute(), **reconstruction.compute()}
    metrics["token_stats/total_tokens_eval_reconstruction"] = n_tokens if with_model else 0
    metrics["token_stats/total_tokens_eval_sparsity_variance"] = n_tokens
    return Evaluation(metrics, featurewise)


@torch.no_grad()
def evaluate_rows(
    sae: EvaluatedSAE, row_batches: Iterable[Tensor], scaler: Scaler | None = None
) -> dict[str, float]:
    """What :func:`run_evals` says of the reconstruction, on activations that lie ready: no language model is asked.

    Args:
        sae: put in evaluation mode meanwhile.
        row_batches: x_ND, the rows that count, each batch of any size.
        scaler: as in training; None for an SAE that takes raw activations.
    """
    reconstruction = ReconstructionMetrics(l2_norms=True, sparsity=True, variance=True)
    n_rows = 0
    with _evaluation_mode(sae):
        for x_ND in row_batches:
            n_rows += len(x_ND)
            latents_NF, x_hat_ND = _through(sae, scaler, x_ND)
            reconstruction.add(x_ND, latents_NF, x_hat_ND.to(x_ND.device))
    metrics = reconstruction.compute()
    metrics["token_stats/total_tokens_eval_reconstruction"] = 0
    metrics["token_stats/total_tokens_eval_sparsity_variance"] = n_rows
    return metrics


def _clean_pass(
    lm: LanguageModel, tokens_PC: Tensor, hook_name: str | None, head_index: int | None, to_the_end: bool
) -> tuple[Tensor | None, Tensor]:
    """Logits (None when not wanted) and activations of the untouched model."""
    if not to_the_end:
        return None, lm.activations(tokens_PC, hook_name, head_index)
    seen: list[Tensor] = []
    logits_PCV = lm.logits(tokens_PC, lambda x_PCD: seen.append(x_PCD.clone()), hook_name, head_index)
    return logits_PCV, seen[0]


def _through(sae: EvaluatedSAE, scaler: Scaler | None, x_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Latents and reconstruction, from unscaled activations to unscaled activations."""
    place = next(iter(sae.parameters())).device if isinstance(sae, torch.nn.Module) else x_BD.device
    x_BD = x_BD.to(device=place, dtype=torch.float32)
    latents_BF = sae.encode(x_BD if scaler is None else scaler(x_BD))
    x_hat_BD = sae.decode(latents_BF)
    return latents_BF, x_hat_BD if scaler is None else scaler.unscale(x_hat_BD)


@contextmanager
def _evaluation_mode(sae: Any) -> Iterator[None]:
    if not isinstance(sae, torch.nn.Module):
        yield
        return
    training = sae.training
    sae.eval()
    try:
        yield
    finally:
        sae.train(training)
