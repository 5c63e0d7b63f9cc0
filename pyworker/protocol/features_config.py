"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Literal

import msgspec


class FeaturesConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is shown of the latents of an SAE, and on what text."""

    # latents
    latents: str
    """Latents to look at, such as 0-99,200, or all."""
    top_acts_group_size: int
    """Sequences shown in which a latent is most active. Unit: examples."""
    n_quantiles: int
    """Ranges of activation from which examples are drawn: half an octave each, the last all below. Unit:
    ranges.
    """
    quantile_group_size: int
    """Examples drawn from each range. Unit: examples."""
    buffer: list[int]
    """Tokens shown before and after the peak of an example; one number for both. Unit: tokens."""
    seed: int
    """Decides which examples are drawn."""
    # data
    n_tokens: int
    """Tokens to read, in whole sequences; fewer where the dataset has fewer. Unit: tokens."""
    dataset_path: str | None
    """Text to evaluate on: a Hugging Face name, a folder, a file, or bundled:NAME; null for the run's own."""
    dataset_split: str | None
    """Split of dataset_path; null for train."""
    context_size: int | None
    """Length of the sequences; null for that of the training. Unit: tokens."""
    exclude_special_tokens: bool | list[int] | None
    """Leave these token ids out, or all special ones; null for what the training left out."""
    batch_size_prompts: int | None
    """Sequences in a batch; null for eval_batch_size_prompts of the run, or 16. Unit: prompts."""
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
