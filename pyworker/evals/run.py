"""Evaluation of an SAE in place: in the language model it was made for, on held-out tokens.

Shapes: P prompts, C context, D d_in, F latents, V vocabulary, N kept tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from pyworker.evals.metrics import LatentDensity, ModelMetrics, ReconstructionMetrics
from pyworker.evals.weights import weight_statistics
from pyworker.lm.model import LanguageModel

LOGIT_BYTES, GPU_LOGIT_BYTES = 128 * 2**20, 2**30
"""Logits of so many bytes are held at a time on a CPU and on a GPU, four times over with what is computed from them. A
vocabulary of 256 000 has a megabyte of them for each token."""


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


def evaluate(
    sae: EvaluatedSAE,
    lm: LanguageModel,
    token_batches: Iterable[Tensor],
    scaler: Scaler | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluate one SAE: :func:`evaluate_together` explains the arguments."""
    return evaluate_together([(sae, scaler)], lm, token_batches, **options)[0]


@torch.no_grad()
def evaluate_together(
    saes: Sequence[tuple[EvaluatedSAE, Scaler | None]],
    lm: LanguageModel,
    token_batches: Iterable[Tensor],
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
) -> list[Evaluation]:
    """Evaluate SAEs of one hook on every batch. The defaults compute what SAELens logs while it trains.

    One clean pass for all gives both the activations and the logits to compare with; without model metrics it ends at
    the hook. With them, one more pass for all with zeros in its place, and one for each SAE with its reconstruction
    at the kept tokens.

    Args:
        saes: each put in evaluation mode meanwhile, with its scaler as in training; None for an SAE that takes raw
            activations.
        lm: the language model.
        token_batches: tokens_PC, each batch of any size.
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
        for each SAE its metrics, with the number of tokens read under ``token_stats/``.
    """
    where = (hook_name, head_index)
    special = lm.special_token_ids() if exclude_special_tokens is True else exclude_special_tokens or []
    with_model = compute_ce_loss or compute_kl
    n_tokens = 0
    found = [
        _Found(
            ModelMetrics(ce_loss=compute_ce_loss, kl=compute_kl),
            ReconstructionMetrics(
                l2_norms=compute_l2_norms,
                sparsity=compute_sparsity_metrics,
                variance=compute_variance_metrics,
            ),
        )
        for _ in saes
    ]
    with ExitStack() as modes:
        for sae, _ in saes:
            modes.enter_context(_evaluation_mode(sae))
        for tokens in token_batches:
            tokens_PC = tokens.to(lm.device)
            kept_PC = ~torch.isin(tokens_PC, torch.tensor(special, device=lm.device, dtype=tokens_PC.dtype))
            n_tokens += tokens_PC.numel()
            if with_model:
                # Logits are held for a few prompts; what a batch has in common is taken below, over all of it.
                parts = zip(_few_prompts(lm, tokens_PC), _few_prompts(lm, kept_PC), strict=True)
                x_PCD = torch.cat([_in_the_model(lm, *part, saes, found, where) for part in parts])
            else:
                x_PCD = lm.activations(tokens_PC, *where)
            for (sae, scaler), of_sae in zip(saes, found, strict=True):
                latents_BF, x_hat_BD = _through(sae, scaler, x_PCD.flatten(0, 1))
                x_hat_PCD = x_hat_BD.to(x_PCD.device).unflatten(0, tokens_PC.shape)
                rows = kept_PC.flatten().to(latents_BF.device)
                of_sae.reconstruction.add(x_PCD[kept_PC], latents_BF[rows], x_hat_PCD[kept_PC])
                if compute_featurewise:
                    of_sae.density.add(latents_BF.unflatten(0, tokens_PC.shape), kept_PC)
        return [
            of_sae.evaluation(sae, n_tokens, with_model, compute_featurewise)
            for (sae, _), of_sae in zip(saes, found, strict=True)
        ]


@dataclass
class _Found:
    """What is known of one SAE so far."""

    model: ModelMetrics
    reconstruction: ReconstructionMetrics
    density: LatentDensity = field(default_factory=LatentDensity)

    def evaluation(self, sae: EvaluatedSAE, n_tokens: int, with_model: bool, featurewise: bool) -> Evaluation:
        metrics = {**self.model.compute(), **self.reconstruction.compute()}
        metrics["token_stats/total_tokens_eval_reconstruction"] = n_tokens if with_model else 0
        metrics["token_stats/total_tokens_eval_sparsity_variance"] = n_tokens
        return Evaluation(
            metrics, {**self.density.compute(), **weight_statistics(sae)} if featurewise else {}
        )


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


def _few_prompts(lm: LanguageModel, of_each_PC: Tensor) -> tuple[Tensor, ...]:
    """So many at a time that their logits are a block."""
    block = GPU_LOGIT_BYTES if lm.device.type == "cuda" else LOGIT_BYTES
    return of_each_PC.split(max(1, block // (4 * lm.vocab_size * of_each_PC.shape[1])))


def _in_the_model(
    lm: LanguageModel,
    tokens_PC: Tensor,
    kept_PC: Tensor,
    saes: Sequence[tuple[EvaluatedSAE, Scaler | None]],
    found: Sequence[_Found],
    where: tuple[str | None, int | None],
) -> Tensor:
    """Count what the model loses with each SAE in its place, and with zeros; the activations ``x_PCD`` are returned."""
    seen: list[Tensor] = []
    clean_PCV = lm.logits(tokens_PC, lambda x_PCD: seen.append(x_PCD.clone()), *where)
    ablated_PCV = lm.logits(tokens_PC, torch.zeros_like, *where)
    (x_PCD,) = seen
    for (sae, scaler), of_sae in zip(saes, found, strict=True):
        _, x_hat_BD = _through(sae, scaler, x_PCD.flatten(0, 1))
        x_hat_PCD = x_hat_BD.to(x_PCD).unflatten(0, tokens_PC.shape)
        substituted_PCD = torch.where(kept_PC[..., None], x_hat_PCD, x_PCD)
        logits = {
            "without_sae": clean_PCV,
            "with_sae": lm.logits(tokens_PC, lambda _, new=substituted_PCD: new, *where),
            "with_ablation": ablated_PCV,
        }
        of_sae.model.add(tokens_PC, kept_PC, logits)
    return x_PCD


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
