"""The language model this worker holds. A notebook trains, looks and trains again on one that is loaded once."""

from typing import Any

import msgspec
import torch

from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.lm.model import LanguageModel

_held: tuple[tuple[dict[str, Any], str | None], LanguageModel] | None = None
"""What was asked for, the hook that its layers end at (None for a whole model), and the model."""


def language_model(cfg: Any, session: Any, only_to_hook: bool = False) -> LanguageModel:
    """The model of ``cfg`` with its hook chosen; loaded, and said to be, only when the one held will not do.
    ``only_to_hook`` of one that is asked for nothing but activations: layers above the hook may be left out.

    The values are those of a new worker, bit for bit: what this one did before must not show in a training run.

    Raises:
        WorkerError: see :func:`pyworker.lm.load_language_model`.
    """
    global _held  # noqa: PLW0603  one model a worker is the point
    wanted = {name: getattr(cfg, name) for name in LanguageModelConfig.__dataclass_fields__}
    hook_name, head_index = wanted.pop("hook_name"), wanted.pop("hook_head_index")
    last_hook = hook_name if only_to_hook else None
    held = _held is not None and _held[0] in ((wanted, None), (wanted, last_hook))
    if _held is not None and held and _held[1].as_loaded_for(hook_name):
        session.log("info", f"{cfg.model_name} is loaded already")
    else:
        session.stage("load_model", f"loading {cfg.model_name}")
        _held = None  # two models need not fit side by side
        torch.manual_seed(0)  # weights that the files lack are drawn: alike in every worker
        _held = ((wanted, last_hook), load_language_model(cfg, last_hook))
    model = _held[1]
    model.hook_name, model.head_index = hook_name, head_index
    return model


def list_hooks(params: dict[str, Any], session: Any) -> list[dict[str, Any]]:
    """Operation ``list_hooks``: the hook points of a model, with the shape each gives for 2 prompts of 7 tokens."""
    cfg = msgspec.convert(params, LanguageModelConfig)
    points = language_model(cfg, session).hook_points()
    return [{"name": p.name, "shape": list(p.shape), "d_in": p.d_in} for p in points]
