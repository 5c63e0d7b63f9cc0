"""A model without the layers above a hook: less to read, less to hold."""

import logging
import re
from typing import Any

from pyworker.lm.backends import LAYER_MODULES, PLAIN_HOOK
from pyworker.lm.source import ModelSource

log = logging.getLogger(__name__)

HUB_KEYWORDS = {"revision", "trust_remote_code", "token", "cache_dir"}
OTHER_KEYWORDS = {"dtype", "attn_implementation"}


def config_up_to(hook_name: str, source: ModelSource, kwargs: dict[str, Any]) -> Any | None:
    """The configuration of a model whose last layer is the one of the hook. None where it is not certain which that
    is: another architecture than those of LAYER_MODULES, a GGUF file, a loader that is told more than usual.
    """
    from transformers import AutoConfig

    if source.gguf_file is not None or kwargs.keys() - HUB_KEYWORDS - OTHER_KEYWORDS:
        return None
    config = AutoConfig.from_pretrained(
        source.name, **{name: kwargs[name] for name in HUB_KEYWORDS & kwargs.keys()}
    )
    modules = LAYER_MODULES.get((config.architectures or [""])[0])
    if modules is None:
        return None
    in_layer = re.compile(rf"{re.escape(modules.layers)}\.(\d+)(\..*)?")
    match = PLAIN_HOOK.fullmatch(hook_name) or in_layer.fullmatch(hook_name)
    if match is None or int(match[1]) >= config.num_hidden_layers:
        return None
    config.num_hidden_layers = int(match[1]) + 1
    return config


def load_up_to(config: Any, source: ModelSource, kwargs: dict[str, Any]) -> Any:
    """The model of such a configuration. That the files hold more than it needs is no news."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            source.name, config=config, output_loading_info=True, **kwargs
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    if found["missing_keys"]:
        log.warning("the files of %s lack weights: %s", source.name, ", ".join(sorted(found["missing_keys"])))
    return model
