"""Operation ``features``: what the latents of an SAE do, as the files of data of a page.

Shapes: E sequences, P sequences of a batch, C context, F latents that are looked at.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from pyworker.data.held_out import open_reader
from pyworker.data.storage import storage_failures_named
from pyworker.errors import WorkerError
from pyworker.features import Examples, collect
from pyworker.features.pages import LATENTS_A_CHUNK, Pages, effects_through, write_pages
from pyworker.lm.checks import check_context_size, check_d_in
from pyworker.lm.model import LanguageModel
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.protocol.features_config import FeaturesConfig
from pyworker.runners.device import best_device, check_device
from pyworker.runners.evals import EvaluatedFolder
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.models import language_model
from pyworker.saes import load_sae

log = logging.getLogger(__name__)


def features(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Read the text once, and write the files of data.

    Args:
        params: ``config``, a resolved LanguageModelSAERunnerConfig that says how model and text are read;
            ``features``, a FeaturesConfig without the nulls that stand for something else; ``latents``, first and last
            of each stretch of them, or None for all; ``sae``, an EvaluatedFolder; ``folder``, an empty one for the
            files.
        session: the request.

    Returns:
        what src/runners/features.ts says about the folder: sizes, how much was read, how many latents are dead.

    Raises:
        WorkerError: whatever loading and reading can fail with; D_IN_MISMATCH; CONFIG_INVALID for a latent that is not
            there; DATASET_EXHAUSTED when there is no whole sequence; STORAGE.
    """
    cfg = msgspec.convert(params["config"], LanguageModelSAERunnerConfig)
    options = msgspec.convert(params["features"], FeaturesConfig)
    folder = msgspec.convert(params["sae"], EvaluatedFolder)
    device = best_device() if options.device == "auto" else options.device
    check_device("device", device)
    cfg.llm_device = cfg.act_store_device = device
    with forwarded_logs(session), storage_failures_named(Path(params["folder"]), "output"):
        lm = language_model(cfg, session)
        session.stage("load_sae", f"loading {folder.path}")
        sae, _, _ = load_sae(Path(folder.path), device, None, folder.overrides, folder.norm_scaling_factor)
        check_d_in(lm, sae.cfg.d_in, folder.hook_name, folder.hook_head_index)
        wanted_F = _wanted(params["latents"], sae.cfg.d_sae)
        session.stage("open_dataset", f"opening {options.dataset_path}")
        tokens_EC = _tokens(cfg, options, lm)
        excluded = options.exclude_special_tokens
        place = (folder.hook_name, folder.hook_head_index)
        collected = collect(
            sae,
            lambda tokens_PC: lm.activations(tokens_PC, *place),
            _batches(tokens_EC, options, session),
            lm.special_token_ids() if excluded is True else excluded or [],
            wanted_F,
            Examples(
                top=options.top_acts_group_size,
                n_ranges=options.n_quantiles,
                of_range=options.quantile_group_size,
                before=options.buffer[0],
                after=options.buffer[-1],
            ),
            options.seed,
        )
        no_logits = _no_logits(lm, sae.W_dec[:1], place)
        effects = None
        if no_logits is None:
            unembedding_VD = lm.unembedding()
            assert unembedding_VD is not None
            effects = effects_through(lambda rows_FD: lm.into_residual(rows_FD, *place), unembedding_VD)
        pages = Pages(collected, tokens_EC, sae.W_dec.detach(), lm.token_text, effects)
        for done in write_pages(pages, Path(params["folder"])):
            if session.stop_requested():
                break
            session.stage("write", "writing latents", done, len(wanted_F))
    return {
        "architecture": sae.cfg.architecture,
        "layer": lm.layer_of(folder.hook_name),
        "d_in": sae.cfg.d_in,
        "d_sae": sae.cfg.d_sae,
        "n_tokens": collected.n_tokens,
        "n_excluded_tokens": collected.n_excluded,
        "n_sequences": collected.n_sequences,
        "n_latents": len(wanted_F),
        "latents_per_chunk": LATENTS_A_CHUNK,
        "n_dead": int((collected.n_active_F == 0).sum()),
        "no_logits": no_logits,
        "n_co_activation_tokens": collected.co_activation.n_tokens,
    }


def _wanted(latents: list[list[int]] | None, d_sae: int) -> Tensor:
    """wanted_F of first and last of each stretch."""
    if latents is None:
        return torch.arange(d_sae)
    beyond = max(last for _, last in latents)
    if beyond >= d_sae:
        raise WorkerError(
            "CONFIG_INVALID",
            f"latents asks for latent {beyond}, and the SAE has {d_sae}: 0 to {d_sae - 1}",
            hint="choose latents that are there: --latents",
        )
    return torch.unique(torch.cat([torch.arange(first, last + 1) for first, last in latents]))


def _tokens(cfg: LanguageModelSAERunnerConfig, options: FeaturesConfig, lm: LanguageModel) -> Tensor:
    """tokens_EC, int32: as many sequences as have the tokens that are asked for, or as there are."""
    assert options.dataset_path is not None and options.dataset_split is not None
    check_context_size(lm, cfg.context_size)
    n_wanted = max(1, options.n_tokens // cfg.context_size)
    reader = open_reader(cfg, lm, options.dataset_path, options.dataset_split)
    rows = [torch.as_tensor(row, dtype=torch.int32) for row in islice(iter(reader), n_wanted)]
    if not rows:
        raise WorkerError(
            "DATASET_EXHAUSTED",
            f"dataset {options.dataset_path!r} gives no whole sequence of {cfg.context_size} tokens",
            hint="name another dataset: --dataset_path",
        )
    if len(rows) < n_wanted:
        log.warning(
            "dataset %r gives %d sequences of the %d asked for", options.dataset_path, len(rows), n_wanted
        )
    return torch.stack(rows)


def _batches(tokens_EC: Tensor, options: FeaturesConfig, session: Any) -> Iterator[Tensor]:
    """tokens_PC; each is a sign of life, and the end of the request is looked for before it."""
    assert options.batch_size_prompts is not None
    batches = tokens_EC.split(options.batch_size_prompts)
    for number, tokens_PC in enumerate(batches):
        if session.stop_requested():
            return
        session.stage("collect", "collecting", number * batches[0].numel(), tokens_EC.numel())
        yield tokens_PC.long()


def _no_logits(lm: LanguageModel, row_1D: Tensor, place: tuple[str, int | None]) -> str | None:
    """Why there is no way from the hook to the logits by weights alone; None where there is."""
    unembedding_VD = lm.unembedding()
    if unembedding_VD is None:
        return "the model has no unembedding that is a matrix"
    direction_1R = lm.into_residual(row_1D.to(unembedding_VD.device), *place)
    if direction_1R is None:
        return f"what is at {place[0]} does not go into the residual stream by weights alone"
    if direction_1R.shape[1] != unembedding_VD.shape[1]:
        return (
            f"the unembedding takes {unembedding_VD.shape[1]} numbers, {place[0]} has {direction_1R.shape[1]}"
        )
    return None
