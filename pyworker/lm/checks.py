"""Whether data, SAE and language model fit together, asked before anything is trained."""

from pyworker.errors import WorkerError
from pyworker.lm.model import LanguageModel


def check_d_in(
    lm: LanguageModel, d_in: int | None, hook_name: str | None = None, head_index: int | None = None
) -> int:
    """The width of the activations; ``d_in``, when given, must be that.

    Raises:
        WorkerError: D_IN_MISMATCH.
    """
    hook_name = hook_name or lm.hook_name
    head_index = lm.head_index if head_index is None else head_index
    seen = lm.d_in(hook_name, head_index)
    if d_in is None or d_in == seen:
        return seen
    head = "all heads flattened" if head_index is None else f"head {head_index} alone"
    raise WorkerError(
        "D_IN_MISMATCH",
        f"sae.d_in is {d_in}, but the activations at '{hook_name}' are {seen} wide.",
        f"Set d_in to {seen}, or leave it out. For a per-head hook (hook_z) this is the width with {head}; "
        "hook_head_index chooses one head, leaving it out flattens them.",
        {"hook_name": hook_name, "d_in": d_in, "seen": seen, "hook_head_index": head_index},
    )


def check_context_size(lm: LanguageModel, context_size: int) -> None:
    """The model must be able to read sequences this long.

    Raises:
        WorkerError: CONFIG_INVALID.
    """
    limit = lm.context_limit
    if limit is not None and context_size > limit:
        raise WorkerError(
            "CONFIG_INVALID",
            f"context_size is {context_size}, but the model reads at most {limit} tokens.",
            f"Set context_size to {limit} or less.",
            {"context_size": context_size, "limit": limit},
        )
