"""Operation ``train``: rows, trainer and files put together, and what they say sent across the border.

Legend: B batch, D d_in, F d_sae (latents).
"""

import dataclasses
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from pyworker.data.activation_stream import ActivationStream
from pyworker.errors import WorkerError
from pyworker.kernels.product import best_seconds
from pyworker.profile import Profile
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.checkpoint_writer import SKIPPED, CheckpointWriter
from pyworker.runners.device import best_device, check_device
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.provenance import input_revisions, machine, versions
from pyworker.runners.throughput import Throughput
from pyworker.runners.trained_sae import TrainedSAE
from pyworker.runners.training_rows import TrainingRows, open_rows
from pyworker.train import CheckpointKind, TrainingLoop, TrainResult
from pyworker.train.sae_lens_state import PARTIAL, read_sae_lens_state
from pyworker.train.training_state import STATE_FILE, State, part_of, read_state

DEFAULT_EXPANSION_FACTOR = 4
FINAL_EVALUATION = ("evaluate", "evaluating the finished SAE")
THREADS_AT_START = torch.get_num_threads()


class EvaluationLeftOut(Exception):
    """Whoever ends the process waits for the finished SAE, not for what it is worth."""


class TrainingPlaces(msgspec.Struct, forbid_unknown_fields=True):
    """Where finished files are to lie. They are written beside, as ``<place>.<suffix>``, and moved by TypeScript;
    ``rescue`` is for the last of a run whose own place is full; ``kernel_timings`` is kept by every run of this
    machine."""

    checkpoints: str
    output: str | None
    rescue: str | None
    staging_suffix: str
    kernel_timings: str


def train(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Train one SAE, or several on the same activations.

    Args:
        params: ``config``, a resolved LanguageModelSAERunnerConfig; ``saes``, for several SAEs the complete
            configuration of each by its name, as it would be of a run of its own, and None for one; ``places``, a
            TrainingPlaces; ``recorded``, the ``model_name`` and ``dataset_path`` to write down, where those in
            ``config`` are paths of this machine; ``fed``, whether the activations are sent down while this runs;
            ``resume``, the folder of a checkpoint of a run with this configuration to go on from, ours or one of
            SAELens' trainer, or None.
        session: the request, see :class:`pyworker.session.Session`.

    Returns:
        how it ended: ``ended``, ``n_training_steps``, ``n_training_samples``, ``l0``, ``num_dead_features``; of several
        SAEs the last two are their mean and their sum.

    Raises:
        WorkerError: whatever loading, reading or training can fail with.
    """
    config = msgspec.convert(params["config"], LanguageModelSAERunnerConfig)
    saes = {
        name: msgspec.convert(one, LanguageModelSAERunnerConfig)
        for name, one in (params["saes"] or {None: params["config"]}).items()
    }
    places = msgspec.convert(params["places"], TrainingPlaces)
    # A worker that is lent again must compute as a new one does: the numbers depend on the threads, and on what was
    # compiled before.
    torch.set_num_threads(config.n_threads or THREADS_AT_START)
    if config.compile_llm or config.compile_sae:
        torch.compiler.reset()
    with forwarded_logs(session):
        for one in (config, *saes.values()):
            choose_devices(one)
            check_devices(one)
        rows = open_rows(config, params, session)
        if rows is None:
            return msgspec.to_builtins(TrainResult("stopped", 0, 0, l0=0.0, num_dead_features=0))
        from_hub = not (params["fed"] or config.use_cached_activations)
        revisions = input_revisions(config) if from_hub else {}
        torch.manual_seed(config.seed)
        state = None if params["resume"] is None else _state_in(Path(params["resume"]), saes)
        if state is not None and not state.get(PARTIAL, False):
            _require_same_shards(state, rows)
        stream = ActivationStream(config, rows.source, state and part_of(state, "stream"))
        for one in (config, *saes.values()):
            one.sae.d_in = rows.d_in
            if one.sae.d_sae is None:
                one.sae.d_sae = one.sae.d_in * (one.sae.expansion_factor or DEFAULT_EXPANSION_FACTOR)
            one.model_name = params["recorded"]["model_name"]
            one.dataset_path = rows.dataset_path
        try:
            run = TrainingRun(config, saes, places, stream, rows, session, revisions, state)
            del state  # it holds a buffer of activations
            try:
                return run.run()
            finally:
                run.writer.wait()  # whatever became of the run: what is half written becomes whole
        finally:
            stream.close()


def _state_in(checkpoint: Path, saes: Mapping[str | None, LanguageModelSAERunnerConfig]) -> State:
    # Ours is ours, whatever else somebody put there.
    of_sae_lens = None if (checkpoint / STATE_FILE).exists() else read_sae_lens_state(checkpoint, saes)
    return read_state(checkpoint) if of_sae_lens is None else of_sae_lens


def _require_same_shards(state: State, rows: TrainingRows) -> None:
    """Shards that are left out decide which rows come, and in which order.

    Raises:
        WorkerError: RESUME_REFUSED.
    """
    then, now = state.get(SKIPPED, []), [*rows.skipped]
    if then == now:
        return
    raise WorkerError(
        "RESUME_REFUSED",
        f"Cannot go on: its cache is read without {', '.join(now) or 'no shard'} now, "
        f"and was without {', '.join(then) or 'no shard'}",
        hint="Bring the files of the cache back to what they were, or begin a new run.",
        details={"skipped": now, "skipped_then": then},
    )


class TrainingRun:
    """The loop's view of the border and of the files, in what concerns the run as a whole."""

    def __init__(
        self,
        config: LanguageModelSAERunnerConfig,
        saes: Mapping[str | None, LanguageModelSAERunnerConfig],
        places: TrainingPlaces,
        stream: ActivationStream,
        rows: TrainingRows,
        session: Any,
        revisions: Mapping[str, str],
        state: State | None,
    ):
        self.revisions = revisions
        self.config, self.places, self.session = config, places, session
        self.stream, self.evaluation, self.rows = stream, rows.evaluation, rows
        self.n_rows = 0
        self.stage: tuple[str, str, int | None, int | None] = ("open_dataset", "", None, None)
        stream.on_fill = self.on_fill
        done = 0 if state is None else int(state["n_training_samples"])
        self.throughput = Throughput(lambda: stream.model_seconds, done)
        batches = TappedBatches(stream, config.hook_name, session, self.throughput)
        self.saes = [TrainedSAE(name, one, batches, self, state) for name, one in saes.items()]
        self.trainers = [sae.trainer for sae in self.saes]
        self.writer = CheckpointWriter(self)
        self.loop = TrainingLoop(self.trainers, batches, self)
        self._evaluated: tuple[int, dict[str | None, dict[str, float]]] | None = None
        self._speed: tuple[int, dict[str, float]] = (-1, {})

    def run(self) -> dict[str, Any]:
        """Estimate, train, evaluate once more, write the output."""
        config, trainers = self.config, self.trainers
        sizes = {
            sae.name: {"d_sae": sae.trainer.sae.cfg.d_sae, "kernels": sae.trainer.sae.kernels()}
            for sae in self.saes
        }
        self.session.event(
            "started",
            d_in=config.sae.d_in,
            d_sae=sum(of_sae["d_sae"] for of_sae in sizes.values()),
            saes=None if None in sizes else sizes,
            total_steps=trainers[0].total_steps,
            device=config.device,
            torch=str(torch.__version__),
            cpu=torch.backends.cpu.get_cpu_capability(),
            threads=torch.get_num_threads(),
            kernels="+".join(sorted({of_sae["kernels"] for of_sae in sizes.values()})),
            n_eval_prompts=self.evaluation.n_prompts if self.evaluation else 0,
            n_skipped_tokens=self.rows.n_skipped_tokens,
            versions=versions(),
            machine=machine(config.device),
            revisions=self.revisions,
        )
        results = self.loop.run()
        if self.loop.profile is not None:
            self._say_profile(self.loop.profile, results[0].n_training_steps)
        dead = sum(one.num_dead_features for one in results)
        l0 = sum(one.l0 for one in results) / len(results)
        result = dataclasses.replace(results[0], num_dead_features=dead, l0=l0)
        evaluates = self.evaluation is not None and self.evaluation.n_prompts > 0
        if evaluates and result.n_training_steps > 0 and result.ended != "stopped":
            self.on_stage(*FINAL_EVALUATION)
            for trainer in trainers:
                trainer.sae.eval()
            for sae in self.saes:
                sae.on_metrics(result.n_training_steps, self.evaluated(result.n_training_steps)[sae.name])
        if result.ended == "stopped" and result.n_training_steps == 0:
            return msgspec.to_builtins(result)  # nothing was learned that could be kept
        if result.ended == "stopped":
            self.writer.last_checkpoint(result.n_training_samples)
        elif self.places.output is not None:
            self.writer.keep("output", Path(self.places.output), result.n_training_samples)
        return msgspec.to_builtins(result)

    # -- RunCallbacks ----------------------------------------------------------------------------------------------

    def on_stage(self, stage: str, message: str, done: int | None = None, total: int | None = None) -> None:
        """Say what is going on."""
        self.stage = (stage, message, done, total)
        self.session.stage(*self.stage)

    def on_fill(self, rows: int, of_rows: int) -> None:
        """A batch of the language model came into the buffer. Before the first training batch that is a stage; later
        it is a sign of life of the stage that waits for it.
        """
        if self.stream.n_batches == 0:
            self.session.stage(
                "fill_buffer", "filling the buffer of activations", min(rows, of_rows), of_rows
            )
        else:
            self.session.stage(*self.stage)

    def should_stop(self) -> bool:
        """Whether the run was asked to end early."""
        return self.session.stop_requested()

    def take_checkpoint_request(self) -> bool:
        """Whether somebody asked for a checkpoint since the last step."""
        return self.session.checkpoint_requested()

    def on_checkpoint(self, kind: CheckpointKind, n_training_samples: int) -> None:
        """The files are written; TypeScript makes a checkpoint of them."""
        self.writer.checkpoint(kind, n_training_samples)

    # -- what its SAEs share ---------------------------------------------------------------------------------------

    def evaluated(self, step: int) -> dict[str | None, dict[str, float]]:
        """The metrics of each SAE on what is held out, with the language model to itself; made for all at once, when
        the first is asked about. Empty where nothing is held out.
        """
        if self._evaluated is None or self._evaluated[0] != step:
            found: list[dict[str, float]] = [{} for _ in self.trainers]
            if self.evaluation is not None and self.evaluation.n_prompts > 0:
                with self.throughput.elsewhere(), self.stream.paused():
                    scaled = [(trainer.sae, trainer.scaler) for trainer in self.trainers]
                    try:
                        found = self.evaluation.run(scaled, self._watched)
                    except EvaluationLeftOut:
                        self.session.log(
                            "info", "the finished SAE is saved without its evaluation: told to end"
                        )
            self._evaluated = step, dict(zip((sae.name for sae in self.saes), found, strict=True))
        return self._evaluated[1]

    def speed(self, step: int, n_training_samples: int) -> dict[str, float]:
        """How fast the run goes, the same for each of its SAEs."""
        if self._speed[0] != step:
            self._speed = step, self.throughput.row(n_training_samples)
        return self._speed[1]

    def _watched(self, batches: Iterable, n_batches: int) -> Iterator:
        """Each batch of an evaluation is a sign of life, and of the last one a progress to show."""
        for done, batch in enumerate(batches):
            if self.stage[0] == FINAL_EVALUATION[0]:
                # One in the middle of a run ends first: a run that goes on from there must not lack its numbers.
                if self.session.stop_requested():
                    raise EvaluationLeftOut
                self.on_stage(*FINAL_EVALUATION, done, n_batches)
            else:
                self.session.stage(*self.stage)
            yield batch

    def _say_profile(self, profile: Profile, n_steps: int) -> None:
        n_rows = self.config.train_batch_size_tokens
        self.session.event(
            "profile",
            n_steps=n_steps,
            parts=[{"part": name, **dataclasses.asdict(part)} for name, part in profile.parts.items()],
            product_s=sum(best_seconds(one.sae.W_enc.detach(), n_rows) for one in self.trainers) * n_steps,
        )


class TappedBatches:
    """The stream's batches; whoever taps the run gets a copy of those there is room for."""

    def __init__(self, stream: ActivationStream, hook_name: str, session: Any, throughput: Throughput):
        self.stream, self.hook_name, self.session = stream, hook_name, session
        self.throughput = throughput

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        with self.throughput.waiting():
            x_BD = next(self.stream, None)
        if x_BD is None:
            # An SAE of no step is no result. (A source that waits for others ends early when the run is to stop.)
            if self.stream.n_batches == 0 and not self.session.stop_requested():
                raise self.stream.without_a_batch()
            raise StopIteration
        if self.session.tap_wanted():
            rows = self.stream.rows
            self.session.tap(
                activation=rows.x_ND,
                token_id=rows.token_id_N,
                position=rows.position_N,
                sequence=rows.sequence_N,
                hook_name=self.hook_name,
                step=self.stream.n_batches - 1,
            )
        return x_BD

    def peek_rows(self) -> Tensor:
        """See :class:`pyworker.train.ActivationBatches`."""
        return self.stream.peek_rows()

    def estimation_batches(self) -> Generator[Tensor, None, None]:
        """See :class:`pyworker.train.ActivationBatches`; nobody taps these."""
        return self.stream.estimation_batches()


def choose_devices(config: LanguageModelSAERunnerConfig) -> None:
    """Replace ``auto`` by a device of this machine."""
    for owner, name in (
        (config, "device"),
        (config, "llm_device"),
        (config, "act_store_device"),
        (config.sae, "device"),
    ):
        if getattr(owner, name) == "auto":
            setattr(owner, name, best_device())


def check_devices(config: LanguageModelSAERunnerConfig) -> None:
    """Every device named must be there, before minutes are spent on loading a model.

    Raises:
        WorkerError: DEVICE_UNAVAILABLE.
    """
    devices = {name: getattr(config, name) for name in ("device", "llm_device", "act_store_device")}
    for name, device in {**devices, "sae.device": config.sae.device}.items():
        check_device(name, device)
