"""Language models: loading, hook points, forward passes that stop at the hook."""

from pyworker.lm.checks import check_context_size, check_d_in
from pyworker.lm.load import LanguageModelConfig, load_language_model, load_special_token_ids
from pyworker.lm.model import HookPoint, LanguageModel

__all__ = [
    "HookPoint",
    "LanguageModel",
    "LanguageModelConfig",
    "check_context_size",
    "check_d_in",
    "load_language_model",
    "load_special_token_ids",
]
