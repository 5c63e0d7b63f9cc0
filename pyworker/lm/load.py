"""Loading a language model: a hub name, a local folder or a GGUF file, as either ``model_class_name``."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from pyworker.errors import WorkerError
from pyworker.lm.attention import attend_narrow_heads
from pyworker.lm.backends import LAYER_MODULES, HuggingFaceModel, TransformerLensModel, dtype_named, freeze
from pyworker.lm.depth import config_up_to, load_up_to
from pyworker.lm.forward_arguments import check_model_kwargs
from pyworker.lm.gguf import cut_as_the_file_says
from pyworker.lm.linear import freeze_linear_layers
from pyworker.lm.model import LanguageModel
from pyworker.lm.source import ModelSource, find_source
from pyworker.lm.tokenizer import special_token_ids

log = logging.getLogger(__name__)

# TransformerLens' weight processing. SAELens loads without any; an explicit true in
# model_from_pretrained_kwargs asks for it, an explicit false is what happens anyway.
_PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
# Keywords that only the loader of TransformerLens understands.
_LENS_ONLY = {"checkpoint_index", "checkpoint_value", "hf_config_overrides", "n_ctx", "n_devices"}
_TL_OWN_CHECKPOINTS = ("NeelNanda/", "ArthurConmy/", "Baidicoot/")


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """The fields of LanguageModelSAERunnerConfig that a language model needs, for callers without one."""

    model_name: str
    model_class_name: Literal["HookedTransformer", "AutoModelForCausalLM"] = "HookedTransformer"
    hook_name: str | None = None
    hook_head_index: int | None = None
    model_kwargs: dict[str, Any] = field(default_factory=dict)
    model_from_pretrained_kwargs: dict[str, Any] = field(default_factory=dict)
    llm_device: str = "cpu"
    autocast_lm: bool = False
    compile_llm: bool = False
    llm_compilation_mode: str | None = None


def load_language_model(cfg: Any, last_hook: str | None = None) -> LanguageModel:
    """Load the model that ``cfg`` names, frozen, on ``cfg.llm_device``, in float32 unless told otherwise.

    Args:
        cfg: a LanguageModelConfig, or anything with its fields (LanguageModelSAERunnerConfig).
        last_hook: nothing beyond this hook will be asked for, no logits either: layers above it may be left out.

    Raises:
        WorkerError: MODEL_NOT_FOUND, MODEL_LOAD_FAILED (with the cause), OUT_OF_MEMORY; CONFIG_INVALID, when the
            forward pass does not take ``model_kwargs``.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    kwargs = dict(cfg.model_from_pretrained_kwargs)
    processing = {name: kwargs.pop(name) for name in _PROCESSING if name in kwargs}
    if cfg.model_class_name == "AutoModelForCausalLM" and processing:
        raise WorkerError(
            "MODEL_LOAD_FAILED",
            f"{', '.join(processing)} in model_from_pretrained_kwargs belong to HookedTransformer, "
            "but model_class_name is AutoModelForCausalLM.",
            "Leave them out, or set model_class_name to HookedTransformer.",
        )
    kwargs["dtype"] = dtype_named(kwargs.pop("torch_dtype", kwargs.get("dtype", torch.float32)))
    source = find_source(cfg.model_name, kwargs)
    if kwargs.get("trust_remote_code"):
        log.warning(
            "the code that comes with model %s is run: trust_remote_code was asked for", cfg.model_name
        )
    if source.gguf_file is not None:
        kwargs["gguf_file"] = source.gguf_file
    device = torch.device(cfg.llm_device)
    try:
        backend, tokenizer = _load(cfg.model_class_name, source, kwargs, processing, device, last_hook)
    except WorkerError:
        raise
    except torch.cuda.OutOfMemoryError as cause:
        raise WorkerError(
            "OUT_OF_MEMORY",
            f"The model '{cfg.model_name}' does not fit on {device}: {cause}",
            'Try model_from_pretrained_kwargs {"dtype": "bfloat16"}, or another llm_device.',
        ) from cause
    except Exception as cause:
        raise _load_failure(cfg.model_name, source, cause) from cause
    lm = LanguageModel(
        backend,
        tokenizer,
        model_name=cfg.model_name,
        model_class_name=cfg.model_class_name,
        device=device,
        hook_name=cfg.hook_name,
        head_index=cfg.hook_head_index,
        model_kwargs=cfg.model_kwargs,
        autocast=cfg.autocast_lm,
        compile_forward=cfg.compile_llm,
        compilation_mode=cfg.llm_compilation_mode,
    )
    check_model_kwargs(lm, backend.model.forward, cfg.model_kwargs)
    return lm


def load_special_token_ids(cfg: Any) -> list[int] | None:
    """What :meth:`LanguageModel.special_token_ids` says, of the tokenizer alone; None where only the model knows.

    Raises:
        WorkerError: MODEL_NOT_FOUND.
    """
    tokenizer = _tokenizer(
        find_source(cfg.model_name, cfg.model_from_pretrained_kwargs), cfg.model_from_pretrained_kwargs
    )
    return None if tokenizer is None else special_token_ids(tokenizer)


def _load(
    model_class_name: str,
    source: ModelSource,
    kwargs: dict[str, Any],
    processing: dict[str, bool],
    device: torch.device,
    last_hook: str | None,
) -> tuple[HuggingFaceModel | TransformerLensModel, Any | None]:
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    if model_class_name == "AutoModelForCausalLM":
        return HuggingFaceModel(_hugging_face(source, kwargs, device, last_hook)), _tokenizer(source, kwargs)
    name = source.name
    if not source.local:
        from transformer_lens.tools.model_registry.registry_io import resolve_model_alias

        name = resolve_model_alias(name) or name
        if name.startswith(_TL_OWN_CHECKPOINTS):
            return _transformer_lens_own(name, kwargs, device)
    source = ModelSource(name, source.local, source.gguf_file)
    process = any(processing.values())
    plain_hugging_face = source.gguf_file is not None
    if not plain_hugging_face:
        hub = {
            key: kwargs[key]
            for key in ("revision", "trust_remote_code", "token", "cache_dir")
            if key in kwargs
        }
        architectures = AutoConfig.from_pretrained(name, **hub).architectures or []
        plain_hugging_face = any(architecture in LAYER_MODULES for architecture in architectures)
    tokenizer = _tokenizer(source, kwargs)
    lens_only = _LENS_ONLY & kwargs.keys()
    if plain_hugging_face and not lens_only:
        model = _hugging_face(source, kwargs, device, None if process else last_hook)
        backend = TransformerLensModel(model, None, tokenizer, name)
    else:
        from transformer_lens.model_bridge import TransformerBridge

        placed = {} if _placed_by_user(kwargs) else {"device": device}
        bridge = TransformerBridge.boot_transformers(name, **placed, **kwargs)
        freeze(bridge.original_model)
        bridge.eval()
        backend = TransformerLensModel(None, bridge, tokenizer, name)
    if process:
        flags = {flag: bool(processing.get(flag, False)) for flag in _PROCESSING}
        bridge = backend.bridge()
        bridge.enable_compatibility_mode(disable_warnings=True, **flags)
        backend = TransformerLensModel(None, bridge, tokenizer, name)
    return backend, tokenizer


def _placed_by_user(kwargs: dict[str, Any]) -> bool:
    return kwargs.get("device_map") is not None or kwargs.get("n_devices") is not None


def _transformer_lens_own(
    name: str, kwargs: dict[str, Any], device: torch.device
) -> tuple[TransformerLensModel, Any | None]:
    """A model that was published in TransformerLens' own format before it read Hugging Face's (gelu-2l)."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_tl_legacy(name, device=device, **kwargs)
    freeze(bridge.original_model)
    bridge.eval()
    return TransformerLensModel(None, bridge, bridge.tokenizer, name), bridge.tokenizer


def _hugging_face(
    source: ModelSource, kwargs: dict[str, Any], device: torch.device, last_hook: str | None
) -> Any:
    from transformers import AutoModelForCausalLM

    config = None if last_hook is None else config_up_to(last_hook, source, kwargs)
    if config is None:
        model = AutoModelForCausalLM.from_pretrained(source.name, **kwargs)
    else:
        model = load_up_to(config, source, kwargs)
    if source.gguf_file is not None:
        # The weights are plain floats now; a left-over quantization_config would claim otherwise.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.is_quantized = False
        model.hf_quantizer = None
    if not _placed_by_user(kwargs):
        model = model.to(device)
    freeze_linear_layers(model)
    if "attn_implementation" not in kwargs:
        attend_narrow_heads(model)
    return freeze(model)


def _tokenizer(source: ModelSource, kwargs: dict[str, Any]) -> Any | None:
    """The tokenizer beside the model, else the one inside its GGUF file; None when there is none."""
    from transformers import AutoTokenizer

    hub = {
        key: kwargs[key] for key in ("revision", "trust_remote_code", "token", "cache_dir") if key in kwargs
    }
    inside = source.gguf_file is not None and not source.has_tokenizer_files
    if inside:
        hub["gguf_file"] = source.gguf_file
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.name, **hub)
    except (OSError, ValueError):
        return None
    if inside and source.local:
        cut_as_the_file_says(tokenizer, Path(source.name) / source.gguf_file)
    return tokenizer


def _load_failure(model_name: str, source: ModelSource, cause: Exception) -> WorkerError:
    first_line = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    missing = isinstance(cause, OSError) and not source.local
    if missing:
        offline = os.environ.get("HF_HUB_OFFLINE") == "1" or "connect" in str(cause)
        return WorkerError(
            "MODEL_NOT_FOUND",
            f"The model '{model_name}' is no local folder, and the hub did not give it: {first_line}",
            "The hub cannot be reached: give a local folder, or a model that is in the cache (HF_HOME)."
            if offline
            else "Check the name on huggingface.co; a private or gated model needs HF_TOKEN.",
            {"model_name": model_name, "offline": offline},
        )
    return WorkerError(
        "MODEL_LOAD_FAILED",
        f"The model '{model_name}' did not load: {type(cause).__name__}: {first_line}",
        "Check the files of the model, model_class_name and model_from_pretrained_kwargs.",
        {"model_name": model_name, "cause": str(cause)[:2000]},
    )
