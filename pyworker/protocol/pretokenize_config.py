"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Literal

import msgspec


class PretokenizeRunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A dataset of texts to make sequences of tokens of."""

    # data
    tokenizer_name: str
    """Tokenizer: a Hugging Face name, a folder, or bundled:NAME."""
    dataset_path: str
    """Dataset of texts: a Hugging Face name, a local folder or file, or bundled:NAME."""
    dataset_name: str | None
    """Configuration of the dataset."""
    dataset_trust_remote_code: bool
    """Allow code that comes with the dataset to run here."""
    split: str
    """Split to tokenize."""
    data_files: str | list[str] | None
    """Files of the dataset to read, when not all."""
    data_dir: str | None
    """Folder of the dataset to read."""
    column_name: str
    """Column with the texts."""
    use_chat_formatting: bool
    """Format conversations with the tokenizer's chat template."""
    streaming: bool
    """Read the dataset without a download first."""
    shuffle: bool
    """Shuffle the sequences."""
    seed: int | None
    """Seed of the shuffle; null draws one, and sae_lens.json records it."""
    # sequences
    context_size: int
    """Length of the sequences. Unit: tokens."""
    begin_batch_token: int | Literal["bos", "eos", "sep"] | None
    """Token that begins each sequence: an id, bos, eos, sep or null."""
    begin_sequence_token: int | Literal["bos", "eos", "sep"] | None
    """Token that begins each document: an id, bos, eos, sep or null."""
    sequence_separator_token: int | Literal["bos", "eos", "sep"] | None
    """Token between two documents of a sequence: an id, bos, eos, sep or null."""
    disable_concat_sequences: bool
    """One document a sequence; shorter documents are left out."""
    pretokenize_batch_size: int
    """Documents tokenized at a time. Unit: documents."""
    num_proc: int
    """Processes that tokenize. Unit: processes."""
    # output
    save_path: str | None
    """Folder of the tokenized dataset; it must be new, empty, or the same work interrupted."""
    hf_repo_id: str | None
    """Dataset repository to push to: user/name."""
    hf_num_shards: int | None
    """Files of the dataset on the hub; null takes those on disk. Unit: files."""
    hf_revision: str
    """Branch to push to."""
    hf_is_private_repo: bool
    """Make the repository private."""
