"""Operation ``read_prompt``: which latents are active on the tokens of a text that somebody typed.

Shapes: C tokens that are read, F d_sae.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from pyworker.data.tokenization import special_token_id, tokenize_texts
from pyworker.lm.checks import check_d_in
from pyworker.lm.model import LanguageModel
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.device import best_device, check_device
from pyworker.runners.evals import EvaluatedFolder
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.models import language_model
from pyworker.saes import SAE, load_sae

LATENTS_A_TOKEN = 32
"""Told for each token, the most active first."""
TOKENS_AT_ONCE = 64
"""Encoded at once: dense latents of more would fill the memory of a wide SAE."""

_held: tuple[tuple[str, EvaluatedFolder], SAE] | None = None
"""Device and folder of the SAE this worker holds for prompts, and the SAE."""


def read_prompt(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Tokens of a text and their latents.

    Args:
        params: ``config``, a resolved LanguageModelSAERunnerConfig that says how model and text are read; ``device``;
            ``sae``, an EvaluatedFolder; ``text``; ``latent``, one whose activation on every token is wanted, or None.
        session: the request.

    Returns:
        what src/features/prompt.ts says.

    Raises:
        WorkerError: whatever loading can fail with; D_IN_MISMATCH.
    """
    cfg = msgspec.convert(params["config"], LanguageModelSAERunnerConfig)
    folder = msgspec.convert(params["sae"], EvaluatedFolder)
    device = best_device() if params["device"] == "auto" else params["device"]
    check_device("device", device)
    cfg.llm_device = cfg.act_store_device = device
    with forwarded_logs(session), torch.no_grad():
        lm = language_model(cfg, session, only_to_hook=True)
        sae = _sae(folder, device, lm)
        ids = _token_ids(params["text"], cfg, lm)
        tokens_C = torch.as_tensor(ids[: cfg.context_size])
        codes = []
        if len(tokens_C) > 0:
            x_CD = lm.activations(tokens_C[None], folder.hook_name, folder.hook_head_index)[0]
            codes = [_code(sae, some_D, params["latent"]) for some_D in x_CD.split(TOKENS_AT_ONCE)]
    return {
        "tokens": [lm.token_text(int(token)) for token in tokens_C],
        "n_left_out": len(ids) - len(tokens_C),
        "latents": list(chain.from_iterable(latents for latents, _, _ in codes)),
        "n_active": list(chain.from_iterable(n_active for _, n_active, _ in codes)),
        "values": None
        if params["latent"] is None
        else list(chain.from_iterable(values for _, _, values in codes)),
    }


def _sae(folder: EvaluatedFolder, device: str, lm: LanguageModel) -> SAE:
    global _held  # noqa: PLW0603  one SAE for prompts a worker is the point
    if _held is None or _held[0] != (device, folder):
        _held = None  # two need not fit side by side
        sae, _, _ = load_sae(Path(folder.path), device, None, folder.overrides, folder.norm_scaling_factor)
        check_d_in(lm, sae.cfg.d_in, folder.hook_name, folder.hook_head_index)
        _held = ((device, folder), sae)
    return _held[1]


def _token_ids(text: str, cfg: LanguageModelSAERunnerConfig, lm: LanguageModel) -> list[int]:
    """As the sequences the SAE was trained on begin."""
    bos = special_token_id("bos" if cfg.prepend_bos else None, lm)
    ids = np.concatenate([np.empty(0, np.int64), *tokenize_texts([[text]], lm.tokenizer)])
    return [*([] if bos is None else [bos]), *ids.tolist()]


def _code(
    sae: SAE, x_CD: Tensor, latent: int | None
) -> tuple[list[list[tuple[int, float]]], list[int], list[float]]:
    """For each token its most active latents, how many are active, and the activation of ``latent``."""
    a_CF = sae.encode(x_CD).float().cpu()
    top = a_CF.topk(min(LATENTS_A_TOKEN, a_CF.shape[-1]))
    latents = [
        [(index, value) for index, value in zip(indices, values, strict=True) if value > 0]
        for indices, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
    n_active = (a_CF > 0).sum(-1).tolist()
    return latents, n_active, [] if latent is None else a_CF[:, latent].tolist()
