"""The training loop: each batch of activations once, for every SAE of the run.

SAEs that are trained together take the same batches and share nothing else: each has its own scale of the
activations, optimizer, schedules, statistics and draws. So each is, bit for bit, what a run of its own would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyworker.errors import WorkerError
from pyworker.profile import Profile, part, profiled
from pyworker.train import checkpoints
from pyworker.train.activation_scaler import ActivationScaler
from pyworker.train.callbacks import RunCallbacks
from pyworker.train.failures import named_memory_errors

if TYPE_CHECKING:
    from pyworker.train.trainer import ActivationBatches, SAETrainer

Ended = Literal["done", "stopped", "data_ended"]


class Stopped(Exception):
    """Somebody asked to stop before there was anything to keep."""


@dataclass
class TrainResult:
    """How training ended, and what the last sampling window says about the SAE."""

    ended: Ended
    n_training_steps: int
    n_training_samples: int
    l0: float
    num_dead_features: int


class TrainingLoop:
    """Steps, stops, evaluates and saves the SAEs of a run together.

    Args:
        trainers: one for each SAE. What they share (tokens, batch, logging, checkpoints) is equal in their
            configurations.
        batches: what all of them are trained on; see :class:`pyworker.train.ActivationBatches`.
        callbacks: what concerns the run as a whole.

    ``profile``: where the time went, where the configuration asks for it.
    """

    def __init__(self, trainers: Sequence[SAETrainer], batches: ActivationBatches, callbacks: RunCallbacks):
        self.trainers, self.batches, self.callbacks = trainers, batches, callbacks
        self.config, self.total_samples = trainers[0].config, trainers[0].total_samples
        thresholds = checkpoints.thresholds(self.config, self.total_samples)
        self.pending_checkpoints = [n for n in thresholds if n >= trainers[0].n_training_samples]
        self.recurring = checkpoints.Recurring(self.config.checkpoint_every, trainers[0].n_training_samples)
        self.profile = Profile(self.config.sae.device) if self.config.profile else None

    def run(self) -> list[TrainResult]:
        """Train until the samples, the data or the user's patience end; then fold what was estimated from data, unless
        it was the user's patience: such a run can be resumed.

        Raises:
            WorkerError: NOT_FINITE, OUT_OF_MEMORY, DATASET_EXHAUSTED, TRAINING_FAILED.
        """
        with named_memory_errors(self.config):
            try:
                if self.trainers[0].n_training_steps == 0:
                    self._prepare()
            except Stopped:
                return [trainer.result("stopped") for trainer in self.trainers]
            with profiled(self.profile), part("other"):
                ended = self._steps()
                self._settle()
            if ended == "stopped":  # it may go on: what was estimated stays apart
                return [trainer.result(ended) for trainer in self.trainers]
            for trainer in self.trainers:
                trainer.end(ended)
            if self.config.save_final_checkpoint:
                self.callbacks.on_checkpoint("final", self.trainers[0].n_training_samples)
        return [trainer.result(ended) for trainer in self.trainers]

    def _prepare(self) -> None:
        """Each as if it were alone; but what two would estimate alike is estimated once."""
        scalers: dict[str, ActivationScaler] = {}
        for trainer in self.trainers:
            known = scalers.setdefault(trainer.config.sae.normalize_activations, trainer.scaler)
            if known is not trainer.scaler:
                trainer.scaler = ActivationScaler(known.factor, known.whitening)
            with _named(trainer):
                trainer.prepare()

    def _steps(self) -> Ended:
        first, callbacks = self.trainers[0], self.callbacks
        what = "the SAE" if len(self.trainers) == 1 else f"{len(self.trainers)} SAEs"
        while first.n_training_samples < self.total_samples:
            callbacks.on_stage("train", f"training {what}", first.n_training_steps, first.total_steps)
            if callbacks.should_stop():
                return "stopped"
            with part("rows"):
                batch_BD = next(self.batches, None)
            if batch_BD is None:  # a source that waits for others ends when it is to stop, too
                return "stopped" if callbacks.should_stop() else "data_ended"
            for trainer in self.trainers:
                with _named(trainer):
                    trainer.advance(batch_BD)
            # All have taken the step before any is evaluated: one pass of the language model serves all.
            for trainer in self.trainers:
                trainer.report()
            for trainer in self.trainers:
                trainer.close_step()
            self._checkpoint_if_due()
        return "done"

    def _checkpoint_if_due(self) -> None:
        n_samples = self.trainers[0].n_training_samples
        scheduled = False
        while self.pending_checkpoints and n_samples > self.pending_checkpoints[0]:
            self.pending_checkpoints.pop(0)
            scheduled = True
        requested = self.callbacks.take_checkpoint_request()
        recurring = n_samples < self.total_samples and self.recurring.is_due(n_samples)
        if scheduled or requested or recurring:
            self._settle()
            kind = "scheduled" if scheduled else "requested" if requested else "recurring"
            with part("checkpoints"):
                self.callbacks.on_checkpoint(kind, n_samples)
            self.recurring.written(n_samples)

    def _settle(self) -> None:
        """Whether every step was finite is known now."""
        for trainer in self.trainers:
            with _named(trainer):
                trainer.finite.settle()


@contextmanager
def _named(trainer: SAETrainer) -> Iterator[None]:
    """Whatever fails says which of several SAEs it failed in."""
    try:
        with named_memory_errors(trainer.config):
            yield
    except WorkerError as error:
        if trainer.name is None:
            raise
        message = f"SAE {trainer.name}: {error.message}"
        raise WorkerError(error.code, message, error.hint, {**error.details, "sae": trainer.name}) from error
