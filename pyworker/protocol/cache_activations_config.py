"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Any, Literal

import msgspec

CacheDtype = Literal["float32", "bfloat16", "float16"]


class CacheActivationsRunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Activations of a language model to write to disk."""

    # language model
    model_name: str
    """Language model: a name TransformerLens or Hugging Face knows, a folder, or bundled:NAME."""
    model_class_name: Literal["HookedTransformer", "AutoModelForCausalLM"]
    """How the model is loaded, and so what its hook points are called."""
    hook_name: str | list[str]
    """Hook point, or a list of them: all are read in one pass of the model."""
    d_in: int | None
    """Width of the activations, checked against the model. Unit: numbers."""
    model_kwargs: dict[str, Any]
    """Arguments of every forward pass of the model."""
    model_from_pretrained_kwargs: dict[str, Any]
    """Arguments for loading the model."""
    # data
    dataset_path: str
    """Dataset: a Hugging Face name, a local folder or file, or bundled:NAME."""
    dataset_name: str | None
    """Configuration of the dataset."""
    dataset_split: str
    """Split to train on."""
    dataset_column: str | None
    """Column with the text or the tokens."""
    dataset_trust_remote_code: bool
    """Allow code that comes with the dataset to run here."""
    streaming: bool
    """Read the dataset while training, without a download first."""
    is_dataset_tokenized: bool | None
    """Insist that the dataset holds tokens (true) or text (false)."""
    use_chat_formatting: bool
    """Format conversations with the tokenizer's chat template."""
    context_size: int
    """Length of the sequences the model reads; -1 takes that of the first tokenized row. Unit: tokens."""
    prepend_bos: bool
    """Start each sequence with the BOS token."""
    disable_concat_sequences: bool
    """One document a sequence; shorter documents are left out."""
    sequence_separator_token: int | Literal["bos", "eos", "sep"] | None
    """Token between two documents of a sequence: an id, bos, eos, sep or null."""
    seqpos_slice: list[int | None]
    """Positions to keep, as the arguments of a Python slice. Unit: tokens."""
    training_tokens: int
    """Tokens whose activations are kept. Unit: tokens."""
    shuffle: bool
    """Shuffle the sequences on disk."""
    seed: int
    """Seed of the shuffle."""
    # devices and numerics
    model_batch_size: int
    """Sequences in one forward pass of the language model. Unit: prompts."""
    device: str
    """Device of the language model: auto, cpu, mps, cuda or cuda:N."""
    dtype: CacheDtype
    """Number type of the activations on disk."""
    autocast_lm: bool
    """bfloat16 arithmetic in the language model."""
    compile_llm: bool
    """Compile the language model."""
    llm_compilation_mode: str | None
    """Mode of torch.compile for the model."""
    n_threads: int | None
    """CPU threads of torch."""
    # output
    new_cached_activations_path: str
    """Folder of the cache; it must be new, empty, or the same work interrupted."""
    buffer_size_gb: float
    """Largest size of one file of the cache. Unit: GB."""
    hf_repo_id: str | None
    """Dataset repository to push to: user/name."""
    hf_num_shards: int | None
    """Files of the cache, here and on the hub; null has as few as buffer_size_gb allows. Unit: files."""
    hf_revision: str
    """Branch to push to."""
    hf_is_private_repo: bool
    """Make the repository private."""
