"""Operation ``peek_dataset``: a look at a dataset."""

from typing import Any

from pyworker.data.peek import peek as look
from pyworker.lm.tokenizer import load_tokenizer


def peek(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """``{path, name, split, column, rows, tokenizer}`` to what :func:`pyworker.data.peek.peek` says."""
    tokenizer = None
    if params["tokenizer"] is not None:
        session.stage("load_tokenizer", f"loading the tokenizer {params['tokenizer']}")
        tokenizer = load_tokenizer(params["tokenizer"])
    session.stage("open_dataset", f"opening {params['path']}")
    return look(params["path"], params["name"], params["split"], params["column"], params["rows"], tokenizer)
