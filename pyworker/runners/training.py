"""Operation ``train``: rows, trainer and files put together, and what they say sent across the border.

Legend: B batch, D d_in, F d_sae (latents).
"""

import dataclasses
import shutil
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pyworker.data.activation_stream import ActivationStream
from pyworker.errors import WorkerError
from pyworker.kernels.product import best_seconds
from pyworker.profile import Profile
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.device import check_device
from pyworker.runners.forwarded_logs import forwarded_logs
from pyworker.runners.training_rows import Evaluation, open_rows
from pyworker.saes import create_sae, load_sae, seeded_generator
from pyworker.train import CheckpointKind, SAETrainer, TrainResult
from pyworker.train.checkpoints import optimizer_tensors

DEFAULT_EXPANSION_FACTOR = 4
HISTOGRAM_BINS = 64
FINAL_EVALUATION = ("evaluate", "evaluating the finished SAE")
THREADS_AT_START = torch.get_num_threads()


class TrainingPlaces(msgspec.Struct, forbid_unknown_fields=True):
    """Where finished files are to lie. They are written beside, as ``<place>.<suffix>``, and moved by TypeScript."""

    checkpoints: str
    output: str | None
    staging_suffix: str


def train(params: dict[str, Any], session: Any) -> dict[str, Any]:
    """Train one SAE.

    Args:
        params: ``config``, a resolved LanguageModelSAERunnerConfig; ``places``, a TrainingPlaces; ``recorded``, the
            ``model_name``, ``dataset_path`` and ``from_pretrained_path`` to write down, where those in ``config`` are
            paths of this machine; ``fed``, whether the activations are sent down while this runs.
        session: the request, see :class:`pyworker.session.Session`.

    Returns:
        how it ended: ``ended``, ``n_training_steps``, ``n_training_samples``, ``l0``, ``num_dead_features``.

    Raises:
        WorkerError: whatever loading, reading or training can fail with.
    """
    config = msgspec.convert(params["config"], LanguageModelSAERunnerConfig)
    places = msgspec.convert(params["places"], TrainingPlaces)
    # A worker that is lent again must compute as a new one does: the numbers depend on the threads, and on what was
    # compiled before.
    torch.set_num_threads(config.n_threads or THREADS_AT_START)
    if config.compile_llm or config.compile_sae:
        torch.compiler.reset()
    with forwarded_logs(session):
        choose_devices(config)
        check_devices(config)
        rows = open_rows(config, params, session)
        if rows is None:
            return msgspec.to_builtins(TrainResult("stopped", 0, 0, l0=0.0, num_dead_features=0))
        torch.manual_seed(config.seed)
        config.sae.d_in = rows.d_in
        if config.sae.d_sae is None:
            config.sae.d_sae = config.sae.d_in * (config.sae.expansion_factor or DEFAULT_EXPANSION_FACTOR)
        stream = ActivationStream(config, rows.source)
        config.model_name = params["recorded"]["model_name"]
        config.dataset_path = rows.dataset_path
        try:
            run = TrainingRun(config, places, stream, rows.evaluation, session)
            config.from_pretrained_path = params["recorded"]["from_pretrained_path"]
            return run.run()
        finally:
            stream.close()


class TrainingRun:
    """The trainer's callbacks: the loop's view of the border and of the files."""

    def __init__(
        self,
        config: LanguageModelSAERunnerConfig,
        places: TrainingPlaces,
        stream: ActivationStream,
        evaluation: Evaluation | None,
        session: Any,
    ):
        self.config, self.places, self.session = config, places, session
        self.stream, self.evaluation = stream, evaluation
        self.process = psutil.Process()
        self.stage: tuple[str, str, int | None, int | None] = ("open_dataset", "", None, None)
        stream.on_fill = self.on_fill
        sae = create_sae(config.sae, seeded_generator(config.seed))
        if config.from_pretrained_path is not None:
            sae.adopt(load_sae(Path(config.from_pretrained_path))[0])
        self.trainer = SAETrainer(sae, config, TappedBatches(stream, config.hook_name, session), self)

    def run(self) -> dict[str, Any]:
        """Estimate, train, evaluate once more, write the output."""
        config, trainer = self.config, self.trainer
        self.session.event(
            "started",
            d_in=config.sae.d_in,
            d_sae=config.sae.d_sae,
            total_steps=trainer.total_steps,
            device=config.device,
            torch=str(torch.__version__),
            cpu=torch.backends.cpu.get_cpu_capability(),
            threads=torch.get_num_threads(),
            kernels=trainer.sae.kernels(),
            n_eval_prompts=self.evaluation.n_prompts if self.evaluation else 0,
        )
        result = trainer.fit()
        if trainer.profile is not None:
            self._say_profile(trainer.profile, result.n_training_steps)
        if result.n_training_steps > 0 and result.ended != "stopped":
            self.on_stage(*FINAL_EVALUATION)
            trainer.sae.eval()
            self.on_metrics(result.n_training_steps, self._evaluation() or {})
        if result.ended == "stopped" and result.n_training_steps == 0:
            return msgspec.to_builtins(result)  # nothing was learned that could be kept
        if result.ended == "stopped":
            self._write("requested", self._checkpoint(result.n_training_samples), result.n_training_samples)
        elif self.places.output is not None:
            self._write("output", Path(self.places.output), result.n_training_samples)
        return msgspec.to_builtins(result)

    # -- TrainerCallbacks ------------------------------------------------------------------------------------------

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

    def on_metrics(self, step: int, row: dict[str, float]) -> None:
        """Send a row, with the memory this process holds."""
        row["system/rss_bytes"] = self.process.memory_info().rss
        if torch.cuda.is_available():
            row["system/gpu_bytes"] = torch.cuda.memory_allocated()
        self.session.metrics("metrics", {"step": step, **row})

    def on_kernels(self, step: int, kernels: str) -> None:
        """A line in the log."""
        self.session.log(
            "info", f"training step {step}: {kernels} kernels from here on, by the density of the latents"
        )

    def on_sparsity(self, step: int, row: dict[str, float], log10_frequency_F: Tensor) -> None:
        """Send a row and the distribution behind it."""
        self.session.metrics("metrics", {"step": step, **row})
        self._histogram(step, "plots/feature_density_line_chart", log10_frequency_F)
        for name, values in self.trainer.sae.weight_histograms().items():
            self._histogram(step, name, values)

    def evaluate(self, step: int) -> dict[str, float] | None:
        """Evaluate on what is held out; not after the last step, when the finished SAE is."""
        return self._evaluation() if step + 1 < self.trainer.total_steps else None

    def _evaluation(self) -> dict[str, float] | None:
        """The metrics on what is held out, with the language model to itself."""
        if self.evaluation is None or self.evaluation.n_prompts == 0:
            return None
        with self.stream.paused():
            return self.evaluation.run(self.trainer.sae, self.trainer.scaler, self._watched)

    def should_stop(self) -> bool:
        """Whether the run was asked to end early."""
        return self.session.stop_requested()

    def take_checkpoint_request(self) -> bool:
        """Whether somebody asked for a checkpoint since the last step."""
        return self.session.checkpoint_requested()

    def on_checkpoint(self, kind: CheckpointKind, n_training_samples: int) -> None:
        """Write the files of a checkpoint; TypeScript makes a checkpoint of them. One that the disk has no room
        for costs the checkpoint, not the run (faults S1); the last one must be kept.
        """
        if kind == "final":
            self._write(kind, self._checkpoint(f"final_{n_training_samples}"), n_training_samples)
            return
        try:
            self._write(kind, self._checkpoint(n_training_samples), n_training_samples)
        except WorkerError as error:
            self.session.log("warning", f"{error.message}; training goes on without this checkpoint")

    def _watched(self, batches: Iterable, n_batches: int) -> Iterator:
        """Each batch of an evaluation is a sign of life, and of the last one a progress to show."""
        for done, batch in enumerate(batches):
            if self.stage[0] == FINAL_EVALUATION[0]:
                self.on_stage(*FINAL_EVALUATION, done, n_batches)
            else:
                self.session.stage(*self.stage)
            yield batch

    # -- parts -----------------------------------------------------------------------------------------------------

    def _checkpoint(self, name: int | str) -> Path:
        return Path(self.places.checkpoints) / str(name)

    def _write(self, purpose: str, final: Path, n_training_samples: int) -> None:
        staging = final.with_name(f"{final.name}.{self.places.staging_suffix}")
        try:
            self.trainer.write_sae_files(staging)
            if purpose != "output":
                self._write_state_files(staging)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise WorkerError(
                "STORAGE",
                f"Cannot write the SAE to {final}: {error}",
                hint="Free space there, or choose another output_path or checkpoint_path.",
            ) from error
        self.session.event(
            "checkpoint",
            purpose=purpose,
            staging=str(staging),
            final=str(final),
            n_training_samples=n_training_samples,
        )

    def _write_state_files(self, staging: Path) -> None:
        """What W&B is to get besides the SAE; written only when it is asked for."""
        logger, trainer = self.config.logger, self.trainer
        if logger.log_optimizer_state_to_wandb:
            tensors = optimizer_tensors(trainer.optimizer, trainer.sae)
            save_file(tensors, staging / "optimizer_state.safetensors")
        if logger.log_activations_store_to_wandb and self.stream.rows is not None:
            n_read = self.stream.rows.sequence_N.max() + 1
            save_file({"n_sequences_read": n_read.cpu()}, staging / "activations_store.safetensors")

    def _say_profile(self, profile: Profile, n_steps: int) -> None:
        sae, n_rows = self.trainer.sae, self.config.train_batch_size_tokens
        self.session.event(
            "profile",
            n_steps=n_steps,
            parts=[{"part": name, **dataclasses.asdict(part)} for name, part in profile.parts.items()],
            product_s=best_seconds(sae.W_enc.detach(), n_rows) * n_steps,
        )

    def _histogram(self, step: int, name: str, values_F: Tensor) -> None:
        values_F = values_F.detach().float().cpu()
        counts, edges = torch.histogram(values_F[torch.isfinite(values_F)], HISTOGRAM_BINS)
        self.session.event(
            "histogram", step=step, name=name, counts=counts.int().tolist(), edges=edges.tolist()
        )


class TappedBatches:
    """The stream's batches; whoever taps the run gets a copy of those there is room for."""

    def __init__(self, stream: ActivationStream, hook_name: str, session: Any):
        self.stream, self.hook_name, self.session = stream, hook_name, session

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
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


def best_device() -> str:
    """What ``auto`` stands for on this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


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
