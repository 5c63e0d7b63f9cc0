"""What a training run reads, and what it is evaluated on: by the language model, from a cache, or fed from outside."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.activation_cache_checksums import verify_cache
from pyworker.data.cached_rows import CachedRows, CachedSequences, HeldOutSequences
from pyworker.data.fed_rows import FedRows
from pyworker.data.held_out import EvalTokens, open_eval_tokens, open_token_data, other_eval_dataset
from pyworker.data.model_rows import LanguageModelRows
from pyworker.data.row_source import RowSource
from pyworker.data.rows import Rows
from pyworker.errors import WorkerError
from pyworker.evals import Subject, evaluate_rows, run_evals
from pyworker.evals.run import Scaler
from pyworker.lm.checks import check_context_size, check_d_in
from pyworker.lm.load import load_special_token_ids
from pyworker.lm.model import LanguageModel
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.comparing import comparing
from pyworker.runners.models import language_model
from pyworker.saes import SAE

FRAMES_AHEAD = 4
"""Frames that may be on their way or lie waiting: with the size of a frame, the memory that a feed takes."""

Watch = Callable[[Iterable, int], Iterator]
"""(batches, how many) → the same batches; each one is a sign of life."""

ScaledSAEs = Sequence[tuple[SAE, Scaler]]
"""SAEs in training, each with what is done to the activations before it sees them."""


class Evaluation(Protocol):
    """What a run is evaluated on, always the same.

    Attributes:
        n_prompts: how many sequences; 0 when there is no evaluation.
    """

    n_prompts: int

    def run(self, saes: ScaledSAEs, watch: Watch) -> list[dict[str, float]]:
        """The metrics of each SAE as it is."""
        ...


@dataclass
class TrainingRows:
    """A source, the width of its rows, what to evaluate on (None for nothing), the dataset to write down, and what is
    left out of a cache: the names of shards, and their tokens.
    """

    source: RowSource
    d_in: int
    evaluation: Evaluation | None
    dataset_path: str
    skipped: Sequence[str] = ()
    n_skipped_tokens: int = 0


def open_rows(
    config: LanguageModelSAERunnerConfig, params: dict[str, Any], session: Any
) -> TrainingRows | None:
    """Open what ``config`` trains on. Where it is a cache or a feed, no language model is loaded here.

    Args:
        config: resolved, with its devices chosen; not changed.
        params: of the operation ``train``.
        session: its request.

    Returns:
        None when the run was asked to stop while it waited for the first row or compared a cache with its checksums.

    Raises:
        WorkerError: whatever loading and reading can fail with.
    """
    recorded = params["recorded"]
    if params["fed"]:

        def waiting() -> None:
            session.stage("wait_for_activations", "waiting for activations")

        waiting()
        frames = session.feed.frames(FRAMES_AHEAD, waiting)
        first = next(frames, None)
        if first is None and session.stop_requested():
            return None
        source = FedRows(first, frames, config.sae.d_in)
        return TrainingRows(source, source.d_in, None, recorded["dataset_path"])
    if config.use_cached_activations:
        session.stage("open_dataset", f"opening {config.cached_activations_path}")
        return _open_cache(config, recorded, session)
    lm = language_model(config, session, only_to_hook=config.n_eval_batches == 0)
    check_context_size(lm, config.context_size)
    d_in = check_d_in(lm, config.sae.d_in)
    session.stage("open_dataset", f"opening {config.dataset_path}")
    data = open_token_data(config, lm)

    def skipping(done: int, total: int) -> None:
        session.stage("find_place", "reading up to where the run is to go on", done, total)

    data.training.on_skip = skipping
    source = LanguageModelRows(config, lm, data.training)
    evaluation = InModel(config, lambda: (lm, data.evaluation), len(data.evaluation.tokens_EC))
    return TrainingRows(source, d_in, evaluation, recorded["dataset_path"])


def _open_cache(
    config: LanguageModelSAERunnerConfig, recorded: dict[str, str], session: Any
) -> TrainingRows | None:
    assert config.cached_activations_path is not None
    cache = ActivationCache.open(config.cached_activations_path, config.skip_bad_shards)
    cache.check_against(config, recorded["model_name"])
    if not verify_cache(cache, comparing(session), config.skip_bad_shards):
        return None
    sequences = CachedSequences(cache, config.hook_name)
    asked = copy.copy(config)  # the run goes on to write down names in place of paths

    def model() -> LanguageModel:
        with torch.random.fork_rng():  # what an evaluation loads must not change the numbers of training
            lm = language_model(asked, session)
        check_context_size(lm, asked.context_size)
        check_d_in(lm, cache.d_in[asked.hook_name])
        return lm

    def special_token_ids() -> list[int]:
        found = load_special_token_ids(asked)
        return model().special_token_ids() if found is None else found

    held_out = HeldOutSequences(config, sequences) if other_eval_dataset(config) is None else None
    n_reserved = 0 if held_out is None else held_out.n_sequences
    source = CachedRows(config, sequences, n_reserved, special_token_ids)
    evaluation = _of_cache(asked, held_out, sequences, model, special_token_ids)
    made_of = cache.manifest.dataset_path if cache.manifest else ""
    return TrainingRows(
        source,
        cache.d_in[config.hook_name],
        evaluation,
        recorded["dataset_path"] or made_of,
        sorted(cache.skipped),
        cache.n_skipped_tokens,
    )


def _of_cache(
    config: LanguageModelSAERunnerConfig,
    held_out: HeldOutSequences | None,
    sequences: CachedSequences,
    model: Callable[[], LanguageModel],
    special_token_ids: Callable[[], list[int]],
) -> Evaluation:
    """In the model when a dataset is named, which asks for it; else on cached rows alone."""
    if held_out is None:
        n_prompts = config.n_eval_batches * config.eval_batch_size_prompts

        def open_both() -> tuple[LanguageModel, EvalTokens]:
            lm = model()
            return lm, open_eval_tokens(config, lm)

        return InModel(config, open_both, n_prompts)
    from_the_start = sequences.position_S.tolist() == list(range(len(sequences.position_S)))
    if config.dataset_path == "" or not (sequences.has_tokens and from_the_start):
        return OnRows(config, held_out, special_token_ids)

    def open_model() -> tuple[LanguageModel, EvalTokens]:
        lm, tokens_ES = model(), held_out.tokens()
        if tokens_ES.numel() and int(tokens_ES.max()) >= lm.vocab_size:
            raise WorkerError(
                "TOKENIZER_MISMATCH",
                f"{sequences.name} has the token id {int(tokens_ES.max())}, "
                f"{config.model_name} knows 0 to {lm.vocab_size - 1}",
                hint="the cache was made with another model",
            )
        return lm, EvalTokens(list(tokens_ES.numpy()), tokens_ES.shape[1], config.eval_batch_size_prompts)

    return InModel(config, open_model, held_out.n_sequences)


class InModel:
    """The SAE in its place in the language model, on tokens that are not trained on.

    Args:
        config: the run's configuration.
        opened: gives the model and the tokens; called at the first evaluation.
        n_prompts: how many sequences that will be.
    """

    def __init__(
        self,
        config: LanguageModelSAERunnerConfig,
        opened: Callable[[], tuple[LanguageModel, EvalTokens]],
        n_prompts: int,
    ):
        self.n_prompts = n_prompts
        self._excluded = config.exclude_special_tokens
        self._open, self._opened = opened, None

    def run(self, saes: ScaledSAEs, watch: Watch) -> list[dict[str, float]]:
        """See :class:`Evaluation`."""
        if self._opened is None:
            self._opened = self._open()
        lm, tokens = self._opened
        batches = watch(tokens.batches(), tokens.n_batches)
        subjects = [Subject(sae, scaler) for sae, scaler in saes]
        found = run_evals(subjects, lm, batches, exclude_special_tokens=self._excluded, compute_kl=True)
        return [of_sae.metrics for of_sae in found]


class OnRows:
    """The SAE alone, on cached rows that are not trained on: how well it gives them back, and how sparsely.

    Args:
        config: the run's configuration.
        held_out: the sequences.
        special_token_ids: asked for them only when the configuration excludes all special tokens.
    """

    def __init__(
        self,
        config: LanguageModelSAERunnerConfig,
        held_out: HeldOutSequences,
        special_token_ids: Callable[[], list[int]],
    ):
        self.n_prompts = held_out.n_sequences
        excluded = config.exclude_special_tokens
        ids = special_token_ids() if excluded is True else excluded or []
        self._excluded_ids = torch.tensor(ids, dtype=torch.int32)
        self._held_out = held_out

    def run(self, saes: ScaledSAEs, watch: Watch) -> list[dict[str, float]]:
        """See :class:`Evaluation`."""
        return [self._run(sae, scaler, watch) for sae, scaler in saes]

    def _run(self, sae: SAE, scaler: Scaler, watch: Watch) -> dict[str, float]:
        batches = watch(self._held_out.batches(), self._held_out.n_batches)
        return evaluate_rows(sae, map(self._kept, batches), scaler)

    def _kept(self, rows: Rows) -> Tensor:
        return rows.x_ND[~torch.isin(rows.token_id_N, self._excluded_ids)]
