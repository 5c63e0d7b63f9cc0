"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Literal

import msgspec


class EvalConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is computed of SAEs, and on what."""

    # metrics
    metrics: list[str] | None
    """Only these metrics, by group or by name; null for all that are computed."""
    compute_kl: bool
    """Compute the KL divergence to the model without SAE."""
    compute_ce_loss: bool
    """Compute cross entropy with SAE, without, and with zeros in its place."""
    compute_l2_norms: bool
    """Compute norms of activations and reconstructions."""
    compute_sparsity_metrics: bool
    """Compute L0 and L1."""
    compute_variance_metrics: bool
    """Compute explained variance, mean squared error and cosine similarity."""
    compute_featurewise_density_statistics: bool
    """Compute how often each latent fires."""
    compute_featurewise_weight_based_metrics: bool
    """Compute norms and similarities of the latents by their weights."""
    # data
    dataset_path: str | None
    """Text to evaluate on: a Hugging Face name, a folder, a file, or bundled:NAME; null for the run's own."""
    dataset_split: str | None
    """Split of dataset_path; null for train."""
    context_size: int | None
    """Length of the sequences; null for that of the training. Unit: tokens."""
    exclude_special_tokens: bool | list[int] | None
    """Leave these token ids out, or all special ones; null for what the training left out."""
    seed: int | None
    """Draw the sequences at random, by this seed; null takes the first ones."""
    # batches
    batch_size_prompts: int | None
    """Sequences in a batch; null for eval_batch_size_prompts of the run, or 16. Unit: prompts."""
    n_eval_reconstruction_batches: int | None
    """Batches for cross entropy and KL; null for n_eval_batches of the run, or 10. Unit: batches."""
    n_eval_sparsity_variance_batches: int | None
    """Batches for all other metrics; null for as many as n_eval_reconstruction_batches. Unit: batches."""
    # language model
    model_name: str | None
    """Language model, where it is not the one the SAE says it was made for."""
    model_class_name: Literal["HookedTransformer", "AutoModelForCausalLM"] | None
    """How the language model is loaded, where it is not as the SAE says."""
    hook_name: str | None
    """Where the SAE takes its activations, where it does not say so."""
    # devices
    device: str
    """Device of the language model and the SAEs."""
