"""What transformers leaves out when it reads a tokenizer from a GGUF file.

A GGUF file names how text is cut before byte-pair merges (``tokenizer.ggml.pre``); transformers cuts like
GPT-2 whatever the name. For the family below single digits stand apart too, and without that text with
numbers becomes other ids than those the model was trained on.
"""

from pathlib import Path
from typing import Any

_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r"}


def cut_as_the_file_says(tokenizer: Any, file: Path) -> None:
    """Give a tokenizer that was read from ``file`` the file's own pre-tokenizer."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() in _SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
            ]
        )
