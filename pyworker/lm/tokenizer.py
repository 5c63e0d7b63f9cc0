"""A tokenizer without its model, and what tells two tokenizers apart."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from pyworker.errors import WorkerError
from pyworker.lm.names import nearest

SPACE = "\u2581"
SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id")


def load_tokenizer(name: str) -> Any:
    """The Hugging Face tokenizer of a hub repository or a local folder; texts of any length are welcome to it.

    Raises:
        WorkerError: MODEL_NOT_FOUND when nothing has that name, MODEL_LOAD_FAILED when what is there is no tokenizer.
    """
    from transformers import AutoTokenizer

    folder = Path(name).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1):
        siblings = [str(other) for other in folder.parent.iterdir()] if folder.parent.is_dir() else []
        near = nearest(str(folder), siblings)
        raise WorkerError(
            "MODEL_NOT_FOUND",
            f"tokenizer {name!r} is a path, and no folder is there",
            hint=f"did you mean {' or '.join(near)}?" if near else "check tokenizer_name",
            details={"tokenizer_name": name, "nearest": near},
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else name)
    except Exception as cause:  # loading one can fail in as many ways as it has files
        raise _not_loaded(name, folder.is_dir(), cause) from cause
    tokenizer.model_max_length = sys.maxsize  # texts are cut into sequences afterwards
    return tokenizer


def special_token_ids(source: Any) -> list[int]:
    """Those that a tokenizer, or the configuration of a model, names."""
    ids = (getattr(source, name, None) for name in SPECIAL_TOKENS)
    return sorted({found for found in ids if isinstance(found, int)})


def token_text(tokenizer: Any | None, token_id: int) -> str:
    """What a token is in text, its leading space too; its number where no tokenizer knows it."""
    token = None if tokenizer is None else tokenizer.convert_ids_to_tokens(token_id)
    if not isinstance(token, str):
        return f"<{token_id}>"
    if SPACE in token:  # SentencePiece: decoding it alone would drop the space
        return token.replace(SPACE, " ")
    text = tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
    return token if "\ufffd" in text else text  # some bytes of a letter: the tokenizer's own name for them


def vocabulary_sha256(tokenizer: Any) -> str:
    """Hash of tokens and their ids: equal for two tokenizers with the same vocabulary, wherever they lie."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0]))
    return hashlib.sha256(json.dumps(vocabulary, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()


def _not_loaded(name: str, local: bool, cause: Exception) -> WorkerError:
    first_line = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    if local or not isinstance(cause, OSError):
        return WorkerError(
            "MODEL_LOAD_FAILED",
            f"tokenizer {name!r} did not load: {type(cause).__name__}: {first_line}",
            hint="name a folder with tokenizer.json and tokenizer_config.json, or a hub repository that has them",
            details={"tokenizer_name": name, "cause": str(cause)[:2000]},
        )
    offline = os.environ.get("HF_HUB_OFFLINE") == "1" or "connect" in str(cause)
    return WorkerError(
        "MODEL_NOT_FOUND",
        f"tokenizer {name!r} is no local folder, and the hub did not give it: {first_line}",
        hint="the hub cannot be reached: give a local folder, or a tokenizer that is in the cache (HF_HOME)"
        if offline
        else "check tokenizer_name on huggingface.co; a private or gated one needs HF_TOKEN",
        details={"tokenizer_name": name, "offline": offline},
    )
