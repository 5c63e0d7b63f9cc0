"""Operation ``evaluate``: SAEs of one language model, on the same tokens.

Shapes: E evaluation prompts, P prompts of a batch, C context.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from pyworker.data.held_out import open_reader, open_token_data
from pyworker.errors import WorkerError
from pyworker.evals import Evaluation, Subject, run_evals
from pyworker.lm.checks import check_context_size, check_d_in
from pyworker.lm.model import LanguageModel
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.protocol.eval_config import EvalConfig
from pyworker.runners.device import best_device, check_device
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.models import language_model
from pyworker.saes import load_sae

log = logging.getLogger(__name__)

POOL = 10
"""A seed draws from the first so many times as many sequences as are read."""


class EvaluatedFolder(msgspec.Struct, forbid_unknown_fields=True):
    """An SAE to evaluate: its folder, what its release knows better, and where it takes its activations."""

    path: str
    overrides: dict[str, Any]
    norm_scaling_factor: float | None
    hook_name: str
    hook_head_index: int | None


def evaluate(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Evaluate SAEs.

    Args:
        params: ``config``, a resolved LanguageModelSAERunnerConfig that says how model and text are read; ``eval``, an
            EvalConfig without the nulls that stand for something else; ``text``, whether the run's held-out sequences
            are read or those of ``eval.dataset_path`` from its beginning; ``saes``, EvaluatedFolder of each.
        session: the request.

    Returns:
        ``n_prompts`` that were read, and under ``saes`` for each ``metrics`` and ``intervals`` (null where one is not
        defined); arrays with one value for each latent come as ``<number of the SAE>/<name>``.

    Raises:
        WorkerError: whatever loading and reading can fail with; D_IN_MISMATCH; DATASET_EXHAUSTED when no sequence is
            left to evaluate on.
    """
    cfg = msgspec.convert(params["config"], LanguageModelSAERunnerConfig)
    options = msgspec.convert(params["eval"], EvalConfig)
    folders = [msgspec.convert(one, EvaluatedFolder) for one in params["saes"]]
    device = best_device() if options.device == "auto" else options.device
    check_device("device", device)
    cfg.llm_device = cfg.act_store_device = device
    with forwarded_logs(session):
        lm = language_model(cfg, session)
        subjects = []
        for number, one in enumerate(folders):
            session.stage("load_sae", f"loading {one.path}", number, len(folders))
            sae, _, _ = load_sae(Path(one.path), device, None, one.overrides, one.norm_scaling_factor)
            check_d_in(lm, sae.cfg.d_in, one.hook_name, one.hook_head_index)
            subjects.append(Subject(sae, None, one.hook_name, one.hook_head_index))
        session.stage("open_dataset", f"opening {options.dataset_path or cfg.dataset_path}")
        tokens_EC = _tokens(cfg, options, params["text"], lm)
        found = run_evals(
            subjects,
            lm,
            _batches(tokens_EC, options, session),
            exclude_special_tokens=options.exclude_special_tokens or False,
            n_eval_reconstruction_batches=options.n_eval_reconstruction_batches,
            n_eval_sparsity_variance_batches=options.n_eval_sparsity_variance_batches,
            **_compute_flags(options),
        )
    return {"n_prompts": len(tokens_EC), "saes": [_sent(n, one, session) for n, one in enumerate(found)]}


def _compute_flags(options: EvalConfig) -> dict[str, bool]:
    return {name: getattr(options, name) for name in options.__struct_fields__ if name.startswith("compute_")}


def _tokens(
    cfg: LanguageModelSAERunnerConfig,
    options: EvalConfig,
    text: Literal["held_out", "named"],
    lm: LanguageModel,
) -> Tensor:
    """tokens_EC: as many sequences as are asked for, or as there are."""
    assert options.context_size is not None and options.batch_size_prompts is not None
    check_context_size(lm, options.context_size)
    n_wanted = options.batch_size_prompts * max(
        options.n_eval_reconstruction_batches or 0, options.n_eval_sparsity_variance_batches or 0
    )
    if text == "held_out":
        found_EC = open_token_data(cfg, lm).evaluation.tokens_EC[:, : options.context_size]
        where = "the run held out"
    else:
        assert options.dataset_path is not None and options.dataset_split is not None
        reader = open_reader(cfg, lm, options.dataset_path, options.dataset_split)
        n_read = n_wanted if options.seed is None else n_wanted * POOL
        rows = [torch.as_tensor(row, dtype=torch.int64) for row in islice(iter(reader), n_read)]
        found_EC = torch.stack(rows) if rows else torch.empty(0, options.context_size, dtype=torch.int64)
        where = f"dataset {options.dataset_path!r} gives"
    if len(found_EC) == 0:
        raise WorkerError(
            "DATASET_EXHAUSTED",
            f"{where} no whole sequence of {options.context_size} tokens to evaluate on",
            hint="name another dataset: --dataset_path",
        )
    if options.seed is not None:
        order_E = torch.randperm(len(found_EC), generator=torch.Generator().manual_seed(options.seed))
        found_EC = found_EC[order_E]
    if len(found_EC) < n_wanted:
        log.warning(
            "%s %d sequences of the %d asked for: they are what is evaluated on",
            where,
            len(found_EC),
            n_wanted,
        )
    return found_EC[:n_wanted]


def _batches(tokens_EC: Tensor, options: EvalConfig, session: Any) -> Iterator[Tensor]:
    """tokens_PC; each is a sign of life, and the end of the request is looked for before it."""
    assert options.batch_size_prompts is not None
    batches = tokens_EC.split(options.batch_size_prompts)
    for done, tokens_PC in enumerate(batches):
        if session.stop_requested():
            return
        session.stage("evaluate", "evaluating", done, len(batches))
        yield tokens_PC


def _sent(number: int, found: Evaluation, session: Any) -> dict[str, Any]:
    for name, values_F in found.featurewise.items():
        session.send_array(f"{number}/{name}", values_F.float())
    return {"metrics": found.metrics, "intervals": found.intervals}
