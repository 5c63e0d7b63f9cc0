"""Whether the forward pass knows the arguments that ``model_kwargs`` gives it.

Models of transformers take ``**kwargs`` and hand them down, so that a misspelt argument is no error there: it
has no effect.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from pyworker.errors import WorkerError
from pyworker.lm.model import LanguageModel
from pyworker.lm.names import nearest

# Ours to give: the tokens, and in which form the logits come back.
_OURS = {"self", "input", "input_ids", "inputs_embeds", "return_type", "return_dict"}


def check_model_kwargs(lm: LanguageModel, forward: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Try the arguments on two tokens: each must be known, and logits must come out for every token.

    Args:
        lm: the model, which passes ``kwargs`` in every forward pass.
        forward: what they are passed to, for its signature.
        kwargs: ``model_kwargs``.

    Raises:
        WorkerError: CONFIG_INVALID.
    """
    if not kwargs:
        return
    known = _known_arguments(forward)
    unknown = [name for name in kwargs if name not in known]
    if unknown:
        close = nearest(unknown[0], known)
        raise WorkerError(
            "CONFIG_INVALID",
            f"model_kwargs: the forward pass of '{lm.model_name}' has no argument {', '.join(unknown)}.",
            f"Nearest: {', '.join(close)}." if close else f"It has {', '.join(sorted(known))}.",
            {"unknown": unknown, "known": sorted(known)},
        )
    tokens_PC = torch.zeros(1, 2, dtype=torch.long)
    try:
        logits_PCV = lm.logits(tokens_PC)
        seen = tuple(logits_PCV.shape[:2])
    except Exception as cause:  # whatever a model does with what it was given
        raise _refused(lm, kwargs, f"it failed with {type(cause).__name__}: {cause}") from cause
    if seen != (1, 2):
        raise _refused(
            lm, kwargs, f"it gave logits of {list(logits_PCV.shape)}, which is not one row a token"
        )


def _known_arguments(forward: Callable[..., Any]) -> set[str]:
    from transformers.utils import TransformersKwargs

    parameters = inspect.signature(forward).parameters.values()
    passed_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return (names | (set(TransformersKwargs.__annotations__) if passed_on else set())) - _OURS


def _refused(lm: LanguageModel, kwargs: dict[str, Any], what: str) -> WorkerError:
    return WorkerError(
        "CONFIG_INVALID",
        f"model_kwargs: the forward pass of '{lm.model_name}' was tried on two tokens with {kwargs}; {what}.",
        "Leave the argument out.",
        {"model_kwargs": sorted(kwargs)},
    )
