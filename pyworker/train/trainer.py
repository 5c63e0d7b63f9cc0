"""One SAE in training.

Legend: B batch, D d_in.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from pyworker.files import Files
from pyworker.profile import part
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import StepInput, StepOutput, TrainingSAE, inference_files, to_inference
from pyworker.train import checkpoints
from pyworker.train.activation_scaler import ActivationScaler
from pyworker.train.b_dec_init import initial_b_dec
from pyworker.train.callbacks import TrainerCallbacks
from pyworker.train.dead_latents import FiringStatistics
from pyworker.train.failures import ExplosionStop, FiniteSteps, named_compile_errors
from pyworker.train.finetuning import FineTuning
from pyworker.train.loop import Ended, Stopped, TrainingLoop, TrainResult
from pyworker.train.metrics import sparsity_metrics, step_metrics
from pyworker.train.optimizer import (
    clip_gradients,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)
from pyworker.train.schedules import LearningRateSchedule, coefficient_at
from pyworker.train.training_state import State, part_of, under


class ActivationBatches(Protocol):
    """Where the activations come from: raw rows, ``train_batch_size_tokens`` of them at a time."""

    def __iter__(self) -> Iterator[Tensor]: ...

    def __next__(self) -> Tensor: ...

    def peek_rows(self) -> Tensor:
        """Rows that lie ready, for the initial ``b_dec``; nothing is consumed."""
        ...

    def estimation_batches(self) -> Generator[Tensor, None, None]:
        """The batches that the scale is estimated from. Closing it puts the source where training begins."""
        ...


class SAETrainer:
    """Trains one SAE on batches of activations.

    Args:
        sae: drawn or loaded weights.
        config: resolved; ``sae.d_in`` and ``sae.d_sae`` included.
        batches: see :class:`ActivationBatches`; what is estimated from data is asked of it only when
            ``normalize_activations`` or ``b_dec_init_method`` wants it.
        callbacks: where metrics, checkpoints and questions go.
        name: what it is called beside others that are trained with it; None for one that is alone.

    ``scaler`` and ``firing`` may be read between steps; evaluations need the scaler.
    """

    def __init__(
        self,
        sae: TrainingSAE,
        config: LanguageModelSAERunnerConfig,
        batches: ActivationBatches,
        callbacks: TrainerCallbacks,
        name: str | None = None,
    ):
        self.sae, self.config, self.batches, self.callbacks = sae, config, batches, callbacks
        self.name = name
        self.total_samples = config.training_tokens + config.finetuning_tokens
        # The last batch may reach beyond the last token; the schedule counts whole batches only, as SAELens does.
        self.total_steps = math.ceil(self.total_samples / config.train_batch_size_tokens)
        self.schedule_steps = self.total_samples // config.train_batch_size_tokens
        self.schedule = LearningRateSchedule(
            config.lr_scheduler_name,
            config.lr,
            config.lr_end,
            self.schedule_steps,
            warm_up_steps=config.lr_warm_up_steps,
            decay_steps=config.lr_decay_steps,
            n_restart_cycles=config.n_restart_cycles,
        )
        self.finetuning = FineTuning(sae, config)
        self.parameters = list(sae.parameters())
        self.optimizer = make_optimizer(self.parameters, config)
        self.finite = FiniteSteps(self.optimizer, config.sae.dtype, sae.cfg.device)
        self.explosion = ExplosionStop(config.stop_on_loss_explosion)
        self.scaler = ActivationScaler()
        self.firing = FiringStatistics(
            sae.cfg.d_sae, sae.cfg.device, config.dead_feature_window, config.dead_feature_threshold
        )
        self.n_training_steps = 0
        self.n_training_samples = 0
        self.row: dict[str, float] | None = None
        if config.autocast:
            sae.prepare_to_autocast()
        self.training_forward = self._training_forward()

    def fit(self) -> TrainResult:
        """Train alone, to the end: see :meth:`TrainingLoop.run`."""
        return TrainingLoop([self], self.batches, self.callbacks).run()[0]

    def prepare(self) -> None:
        """Estimate the scale of the activations, then put ``b_dec`` in their middle, scaled alike (trap 1)."""
        config, sae = self.config, self.sae
        if config.sae.normalize_activations in ("expected_average_only_in", "covariance_whitening"):
            with closing(self.batches.estimation_batches()) as batches:
                self.scaler.estimate(config.sae, self._watched(batches))
        if config.from_pretrained_path is not None:
            self.scaler.unfold_from(sae)
        elif config.sae.b_dec_init_method != "zeros":
            self.callbacks.on_stage("init_b_dec", f"initial b_dec by {config.sae.b_dec_init_method}")
            rows_ND = self.scaler(self.batches.peek_rows().to(sae.cfg.device))
            with torch.no_grad():
                sae.b_dec.copy_(initial_b_dec(config.sae.b_dec_init_method, rows_ND))

    def _watched(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Each batch of the estimate is a sign of life, and a moment to stop at."""
        total = min(self.config.n_batches_for_norm_estimate, self.total_steps)
        for done, batch_BD in enumerate(batches):
            if self.callbacks.should_stop():
                raise Stopped
            self.callbacks.on_stage("estimate_scale", "estimating the scale of the activations", done, total)
            yield batch_BD

    def advance(self, batch_BD: Tensor) -> None:
        """Take one step on a raw batch; where a row of metrics is due, it waits for :meth:`report`."""
        self._turn_sampling_window()
        kernels = self.sae.kernels()
        x_BD, output = self.train_step(batch_BD)
        if self.sae.kernels() != kernels:
            self.callbacks.on_kernels(self.n_training_steps, self.sae.kernels())
        if (self.n_training_steps + 1) % self.config.logger.wandb_log_frequency == 0:
            with part("metrics"):
                self.row = self._metrics(x_BD, output)

    def report(self) -> None:
        """Send the row of the step, with an evaluation where one is due."""
        logger, step, row = self.config.logger, self.n_training_steps, self.row
        if row is None:
            return
        with part("metrics"):
            if (step + 1) % (logger.wandb_log_frequency * logger.eval_every_n_wandb_logs) == 0:
                self.sae.eval()
                row.update(self.callbacks.evaluate(step) or {})
            self.callbacks.on_metrics(step, row)
        self.row = None

    def close_step(self) -> None:
        """The step is over."""
        self.n_training_steps += 1
        self.finetuning.begin_if_due(self.sae, self.n_training_samples)

    def end(self, ended: Ended) -> None:
        """There is no further step: make the SAE take raw activations."""
        if ended == "done" and self._window_is_full() and self.config.sae.vocabulary == "v6":
            self.callbacks.on_sparsity(self.n_training_steps, *sparsity_metrics(self.firing))
        self.scaler.fold_into(self.sae)
        self.scaler.clear()

    def train_step(self, batch_BD: Tensor) -> tuple[Tensor, StepOutput]:
        """One step on a raw batch. The scaled batch and what became of it are returned."""
        sae, config = self.sae, self.config
        self.n_training_samples += batch_BD.shape[0]
        x_BD = self.scaler(batch_BD.to(sae.cfg.device))
        sae.train()
        sae.constrain()
        lr = self.schedule.at(self.n_training_steps)
        with part("losses"), self._autocast():
            dead_N = None if config.compile_sae else self.firing.dead_latents()
            output = self.training_forward(StepInput(x_BD, self.firing.dead(), self.coefficients(), dead_N))
        with part("statistics"):
            self.firing.update(output.code, config.train_batch_size_tokens)
        with part("backward"):
            output.loss.backward()
        with part("clip"):
            grad_norm = clip_gradients(self.parameters, config.max_grad_norm)
            self.finite.check(self.n_training_steps, lr, x_BD, output, grad_norm)
            self.explosion.check(self.n_training_steps, lr, x_BD, output.loss.detach())
        with part("optimizer"):
            set_learning_rate(self.optimizer, lr)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return x_BD, output

    def coefficients(self) -> dict[str, float]:
        """The coefficients of the current step."""
        return {name: coefficient_at(c, self.n_training_steps) for name, c in self.sae.coefficients().items()}

    def sae_files(self) -> Files:
        """The SAE as it is now in inference form, a copy: ``cfg.json``, ``sae_weights.safetensors`` and
        ``sparsity.safetensors``."""
        metadata = {**checkpoints.metadata(self.config, self.sae.training_cfg), **self._sparsity_summary()}
        return inference_files(to_inference(self.sae, self.scaler), metadata, self.firing.log10_sparsity())

    # -- going on ------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """All that :meth:`restore` needs, asked for between two steps."""
        return {
            "n_training_steps": self.n_training_steps,
            "n_training_samples": self.n_training_samples,
            **under("sae", self.sae.progress()),
            **under("optimizer", optimizer_tensors(self.optimizer, self.sae)),
            **under("firing", self.firing.state()),
            **under("scaler", self.scaler.state()),
            **under("explosion", self.explosion.state()),
        }

    def restore(self, state: State) -> None:
        """Go on, on a CPU bit for bit, from the :meth:`state` of a trainer with this configuration."""
        self.n_training_steps = state["n_training_steps"]
        self.n_training_samples = state["n_training_samples"]
        self.sae.restore(part_of(state, "sae"))
        restore_optimizer(self.optimizer, self.sae, part_of(state, "optimizer"))
        self.firing.restore(part_of(state, "firing"))
        self.scaler.restore(part_of(state, "scaler"))
        self.explosion.restore(part_of(state, "explosion"))
        self.finetuning.begin_if_due(self.sae, self.n_training_samples)

    # -- what happens between steps --------------------------------------------------------------------------

    def _metrics(self, x_BD: Tensor, output: StepOutput) -> dict[str, float]:
        self.finite.settle()
        row = step_metrics(x_BD, output, self.firing)
        row["details/current_learning_rate"] = self.schedule.at(self.n_training_steps)
        row["details/n_training_samples"] = self.n_training_samples
        row.update({f"details/{name}_coefficient": value for name, value in self.coefficients().items()})
        return row

    def _window_is_full(self) -> bool:
        """v5 closed its first sampling window one step early."""
        done = self.n_training_steps + (1 if self.config.sae.vocabulary == "v5" else 0)
        return done > 0 and done % self.config.feature_sampling_window == 0

    def _turn_sampling_window(self) -> None:
        if self._window_is_full():
            self.callbacks.on_sparsity(self.n_training_steps, *sparsity_metrics(self.firing))
            self.firing.start_window()

    def result(self, ended: Ended) -> TrainResult:
        """How it ended, and what is known of the SAE."""
        return TrainResult(ended, self.n_training_steps, self.n_training_samples, **self._sparsity_summary())

    def _sparsity_summary(self) -> dict[str, Any]:
        return {
            "l0": self.firing.frequencies().sum().item(),
            "num_dead_features": int(self.firing.dead().sum().item()),
        }

    # -- numerics --------------------------------------------------------------------------------------------

    def _autocast(self) -> Any:
        if not self.config.autocast:
            return nullcontext()
        return torch.autocast(torch.device(self.sae.cfg.device).type, dtype=torch.bfloat16)

    def _training_forward(self) -> Any:
        if not self.config.compile_sae:
            return self.sae.training_forward
        mode = self.config.sae_compilation_mode
        self.sae.prepare_to_compile()
        with named_compile_errors(mode):
            compiled = torch.compile(self.sae.training_forward, mode=mode)

        def forward(step: StepInput) -> StepOutput:
            with named_compile_errors(mode):
                return compiled(step)

        return forward
