"""One SAE of a training run: what its trainer tells goes out under its name, its files into its folder.

Legend: F d_sae (latents).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor

from pyworker.files import Files
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.kernel_timings import keep_timing, read_timing, timing_name
from pyworker.saes import create_sae, load_sae, seeded_generator
from pyworker.train import ActivationBatches, CheckpointKind, SAETrainer
from pyworker.train.health import Health
from pyworker.train.kernel_timing import time_kernels
from pyworker.train.optimizer import optimizer_tensors
from pyworker.train.sae_lens_state import PARTIAL
from pyworker.train.training_state import State, copied, part_of

if TYPE_CHECKING:
    from pyworker.runners.training import TrainingRun

HISTOGRAM_BINS = 64


class TrainedSAE:
    """The callbacks of one trainer.

    Args:
        name: what it is called beside others of its run; None for one that is alone.
        config: as of a run of its own.
        batches: of the run.
        run: what concerns all its SAEs.
        state: what the run goes on from; None at its beginning.
    """

    def __init__(
        self,
        name: str | None,
        config: LanguageModelSAERunnerConfig,
        batches: ActivationBatches,
        run: TrainingRun,
        state: State | None,
    ):
        self.name, self.config, self.run = name, config, run
        self.session, self.process = run.session, psutil.Process()
        self.rows = "metrics" if name is None else f"metrics/{name}"
        self.state_name = "trainer" if name is None else f"trainer[{name}]"
        sae = create_sae(config.sae, seeded_generator(config.seed))
        if config.from_pretrained_path is not None:
            sae.adopt(load_sae(Path(config.from_pretrained_path))[0])
        self.trainer = SAETrainer(sae, config, batches, self, name)
        partial = state is not None and state.get(PARTIAL, False)
        if config.sae.kernels == "measured" and (state is None or partial):
            self._choose_kernels()
        if state is not None:
            new = self.trainer.state() if partial else {}
            self.trainer.restore({**new, **part_of(state, self.state_name)})
        self.health = Health(sae.cfg.d_sae)

    def _choose_kernels(self) -> None:
        """By what was faster on this machine: known from a run before, or timed now."""
        path, name = Path(self.run.places.kernel_timings), timing_name(self.config)
        timing, whence = read_timing(path, name), "measured before"
        if timing is None:
            self.on_stage("time_kernels", f"timing kernels: {name}")
            timing, whence = (
                time_kernels(self.trainer.sae, self.trainer.coefficients(), self.config.autocast),
                "measured now",
            )
            keep_timing(path, name, timing)
        self.trainer.sae.choose_kernels(timing)
        numbers = ", ".join(f"{key} {value:.3g}" for key, value in timing.items())
        self.session.log("info", f"kernels of {name}: {numbers} ({whence}; {path})")

    def on_stage(self, stage: str, message: str, done: int | None = None, total: int | None = None) -> None:
        """See :class:`pyworker.train.RunCallbacks`."""
        self.run.on_stage(stage, message, done, total)

    def should_stop(self) -> bool:
        """See :class:`pyworker.train.RunCallbacks`."""
        return self.run.should_stop()

    def take_checkpoint_request(self) -> bool:
        """See :class:`pyworker.train.RunCallbacks`."""
        return self.run.take_checkpoint_request()

    def on_checkpoint(self, kind: CheckpointKind, n_training_samples: int) -> None:
        """See :class:`pyworker.train.RunCallbacks`."""
        self.run.on_checkpoint(kind, n_training_samples)

    def on_metrics(self, step: int, row: dict[str, float]) -> None:
        """Send a row, with the memory this process holds; and say what it shows to be wrong."""
        whose = "" if self.name is None else f"SAE {self.name}: "
        for warning in self.health.look(step, row):
            self.session.log("warning", f"{whose}{warning}")
        if "details/n_training_samples" in row:  # an evaluation alone is no step
            row.update(self.run.speed(step, int(row["details/n_training_samples"])))
        row["system/rss_bytes"] = self.process.memory_info().rss
        if torch.cuda.is_available():
            row["system/gpu_bytes"] = torch.cuda.memory_allocated()
        self._row(step, row)

    def on_sparsity(self, step: int, row: dict[str, float], log10_frequency_F: Tensor) -> None:
        """Send a row and the distribution behind it."""
        self._row(step, row)
        self._histogram(step, "plots/feature_density_line_chart", log10_frequency_F)
        for name, values in self.trainer.sae.weight_histograms().items():
            self._histogram(step, name, values)

    def on_kernels(self, step: int, kernels: str) -> None:
        """A line in the log."""
        whose = "" if self.name is None else f"SAE {self.name}: "
        self.session.log(
            "info",
            f"{whose}training step {step}: {kernels} kernels from here on, by the density of the latents",
        )

    def evaluate(self, step: int) -> dict[str, float] | None:
        """Evaluate on what is held out; not after the last step, when the finished SAE is."""
        return self.run.evaluated(step)[self.name] if step + 1 < self.trainer.total_steps else None

    def files(self, with_state: bool) -> Files:
        """Its files, in inference form, which training changes no more; with those of the training's state that W&B is
        to get besides."""
        logger, stream, files = self.config.logger, self.run.stream, self.trainer.sae_files()
        if with_state and logger.log_optimizer_state_to_wandb:
            tensors = optimizer_tensors(self.trainer.optimizer, self.trainer.sae)
            files["optimizer_state.safetensors"] = copied(tensors)
        if with_state and logger.log_activations_store_to_wandb and stream.rows is not None:
            n_read = stream.rows.sequence_N.max() + 1
            files["activations_store.safetensors"] = {"n_sequences_read": n_read}
        return files

    def _row(self, step: int, row: dict[str, float]) -> None:
        """Send a row of metrics. How many went before a checkpoint is told with it."""
        self.session.metrics(self.rows, {"step": step, **row})
        self.run.n_rows += 1

    def _histogram(self, step: int, name: str, values_F: Tensor) -> None:
        values_F = values_F.detach().float().cpu()
        counts, edges = torch.histogram(values_F[torch.isfinite(values_F)], HISTOGRAM_BINS)
        self.session.event(
            "histogram",
            sae=self.name,
            step=step,
            name=name,
            counts=counts.int().tolist(),
            edges=edges.tolist(),
        )
