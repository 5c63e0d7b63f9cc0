"""Evaluation of an SAE in place: in the language model it was made for, on held-out tokens.

Shapes: P prompts, C context, D d_in, F latents, V vocabulary, N kept tokens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from pyworker.evals.intervals import intervals
from pyworker.evals.metrics import LatentDensity, ModelMetrics, ReconstructionMetrics, misc_metrics
from pyworker.evals.weights import nearest_latents, weight_statistics
from pyworker.lm.model import LanguageModel, Place

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
class Subject:
    """An SAE and where it takes its activations.

    Attributes:
        sae: put in evaluation mode meanwhile.
        scaler: as in training; None for an SAE that takes raw activations.
        hook_name: None for the hook of the language model's configuration, with its head.
        head_index: one head of a per-head hook.
    """

    sae: EvaluatedSAE
    scaler: Scaler | None = None
    hook_name: str | None = None
    head_index: int | None = None

    @property
    def place(self) -> Place:
        """Hook and head."""
        return self.hook_name, self.head_index


@dataclass(frozen=True)
class Evaluation:
    """Scalars by ``group/metric`` with their 95 % intervals (see :mod:`pyworker.evals.intervals`), where there is one,
    and, when asked for, arrays with one value for each latent.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    featurewise: dict[str, Tensor]


@torch.no_grad()
def run_evals(
    subjects: Sequence[Subject],
    lm: LanguageModel,
    token_batches: Iterable[Tensor],
    *,
    exclude_special_tokens: bool | list[int] = True,
    n_eval_reconstruction_batches: int | None = None,
    n_eval_sparsity_variance_batches: int | None = None,
    compute_ce_loss: bool = True,
    compute_kl: bool = False,
    compute_l2_norms: bool = True,
    compute_sparsity_metrics: bool = True,
    compute_variance_metrics: bool = True,
    compute_featurewise_density_statistics: bool = False,
    compute_featurewise_weight_based_metrics: bool = False,
) -> list[Evaluation]:
    """Evaluate SAEs of one language model on every batch. The defaults compute what SAELens logs while it trains.

    One clean pass for all gives both the activations and the logits to compare with; without model metrics it ends at
    the last hook. With them, one more pass for each hook with zeros in its place, and one for each SAE with its
    reconstruction at the kept tokens.

    Args:
        subjects: the SAEs.
        lm: the language model.
        token_batches: tokens_PC, each batch of any size.
        exclude_special_tokens: True leaves the tokenizer's special tokens out, a list those ids, False none.
        n_eval_reconstruction_batches: the model metrics are of the first so many batches; None for all.
        n_eval_sparsity_variance_batches: the others are of the first so many; None for all.
        compute_ce_loss: cross entropy, the score included.
        compute_kl: KL divergence to the whole model.
        compute_l2_norms: norms and shrinkage.
        compute_sparsity_metrics: l0, l1.
        compute_variance_metrics: explained variance, mse, cosine.
        compute_featurewise_density_statistics: how often each latent fires, and what follows for all.
        compute_featurewise_weight_based_metrics: what the weights say of each latent.

    Returns:
        for each SAE its metrics, with the number of tokens read under ``token_stats/``.
    """
    special = lm.special_token_ids() if exclude_special_tokens is True else exclude_special_tokens or []
    with_model = compute_ce_loss or compute_kl
    with_rows = (
        compute_l2_norms
        or compute_sparsity_metrics
        or compute_variance_metrics
        or compute_featurewise_density_statistics
    )
    n_tokens = {"reconstruction": 0, "sparsity_variance": 0}
    found = [
        _Found(
            ModelMetrics(ce_loss=compute_ce_loss, kl=compute_kl),
            ReconstructionMetrics(
                l2_norms=compute_l2_norms,
                sparsity=compute_sparsity_metrics,
                variance=compute_variance_metrics,
            ),
        )
        for _ in subjects
    ]
    by_place: dict[Place, list[tuple[Subject, _Found]]] = {}
    for subject, of_sae in zip(subjects, found, strict=True):
        by_place.setdefault(subject.place, []).append((subject, of_sae))
    with ExitStack() as modes:
        for subject in subjects:
            modes.enter_context(_evaluation_mode(subject.sae))
        for number, tokens in enumerate(token_batches):
            in_model = with_model and _is_first(number, n_eval_reconstruction_batches)
            on_rows = with_rows and _is_first(number, n_eval_sparsity_variance_batches)
            if not in_model and not on_rows:
                continue
            tokens_PC = tokens.to(lm.device)
            kept_PC = ~torch.isin(tokens_PC, torch.tensor(special, device=lm.device, dtype=tokens_PC.dtype))
            n_tokens["reconstruction"] += tokens_PC.numel() if in_model else 0
            n_tokens["sparsity_variance"] += tokens_PC.numel() if on_rows else 0
            if in_model:
                activations = _in_the_model(lm, tokens_PC, kept_PC, by_place)
            else:
                _, activations = lm.clean_pass(tokens_PC, list(by_place), to_the_end=False)
            if not on_rows:
                continue
            # What a batch has in common (its mean) is taken over all of it.
            for place, of_place in by_place.items():
                x_PCD = activations[place]
                for subject, of_sae in of_place:
                    latents_BF, x_hat_BD = _through(subject.sae, subject.scaler, x_PCD.flatten(0, 1))
                    x_hat_PCD = x_hat_BD.to(x_PCD.device).unflatten(0, tokens_PC.shape)
                    rows = kept_PC.flatten().to(latents_BF.device)
                    of_sae.reconstruction.add(x_PCD[kept_PC], latents_BF[rows], x_hat_PCD[kept_PC])
                    if compute_featurewise_density_statistics:
                        of_sae.density.add(latents_BF.unflatten(0, tokens_PC.shape), kept_PC)
        return [
            of_sae.evaluation(
                subject.sae,
                n_tokens,
                compute_featurewise_density_statistics,
                compute_featurewise_weight_based_metrics,
            )
            for subject, of_sae in zip(subjects, found, strict=True)
        ]


def _is_first(number: int, of: int | None) -> bool:
    return of is None or number < of


@dataclass
class _Found:
    """What is known of one SAE so far."""

    model: ModelMetrics
    reconstruction: ReconstructionMetrics
    density: LatentDensity = field(default_factory=LatentDensity)

    def evaluation(
        self, sae: EvaluatedSAE, n_tokens: dict[str, int], with_density: bool, with_weights: bool
    ) -> Evaluation:
        metrics: dict[str, float] = {}
        reaches: dict[str, tuple[float, float]] = {}
        for one in (self.model, self.reconstruction):
            found = one.compute()
            metrics.update(found)
            reaches.update(intervals(found, one.without_each()))
        featurewise: dict[str, Tensor] = {}
        if with_density:
            featurewise.update(self.density.compute())
            metrics.update(misc_metrics(featurewise["feature_density"]))
        if with_weights:
            nearest = nearest_latents(sae)
            featurewise.update({**weight_statistics(sae), **nearest})
            for name, cosine_F in nearest.items():
                metrics[f"misc_metrics/average_{name}"] = cosine_F.mean().item()
        for name, count in n_tokens.items():
            metrics[f"token_stats/total_tokens_eval_{name}"] = count
        return Evaluation(metrics, reaches, featurewise)


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


def _in_the_model(
    lm: LanguageModel,
    tokens_PC: Tensor,
    kept_PC: Tensor,
    by_place: Mapping[Place, Sequence[tuple[Subject, _Found]]],
) -> dict[Place, Tensor]:
    """Count what the model loses with each SAE in its place, and with zeros, a few prompts at a time; the activations
    of all, ``x_PCD`` by place, are returned.
    """
    for of_place in by_place.values():
        for _, of_sae in of_place:
            of_sae.model.begin_batch()
    seen: dict[Place, list[Tensor]] = {place: [] for place in by_place}
    parts = zip(_few_prompts(lm, tokens_PC), _few_prompts(lm, kept_PC), strict=True)
    for some_PC, kept_some_PC in parts:
        clean_PCV, activations = lm.clean_pass(some_PC, list(by_place), to_the_end=True)
        assert clean_PCV is not None
        for place, of_place in by_place.items():
            x_PCD = activations[place]
            seen[place].append(x_PCD)
            ablated_PCV = lm.logits(some_PC, torch.zeros_like, *place)
            for subject, of_sae in of_place:
                _, x_hat_BD = _through(subject.sae, subject.scaler, x_PCD.flatten(0, 1))
                x_hat_PCD = x_hat_BD.to(x_PCD).unflatten(0, some_PC.shape)
                new_PCD = torch.where(kept_some_PC[..., None], x_hat_PCD, x_PCD)
                logits = {
                    "without_sae": clean_PCV,
                    "with_sae": lm.logits(some_PC, lambda _, new=new_PCD: new, *place),
                    "with_ablation": ablated_PCV,
                }
                of_sae.model.add(some_PC, kept_some_PC, logits)
    return {place: torch.cat(parts) for place, parts in seen.items()}


def _few_prompts(lm: LanguageModel, of_each_PC: Tensor) -> tuple[Tensor, ...]:
    """So many at a time that their logits are a block."""
    block = GPU_LOGIT_BYTES if lm.device.type == "cuda" else LOGIT_BYTES
    return of_each_PC.split(max(1, block // (4 * lm.vocab_size * of_each_PC.shape[1])))


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
