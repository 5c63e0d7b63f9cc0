"""What the trainer tells the outside, and what it asks it."""

from typing import Literal, Protocol

from torch import Tensor

CheckpointKind = Literal["scheduled", "requested", "recurring", "final"]


class RunCallbacks(Protocol):
    """What concerns a run as a whole. None of these may block on a slow reader."""

    def on_stage(self, stage: str, message: str, done: int | None = None, total: int | None = None) -> None:
        """A stage began or moved on: ``estimate_scale`` (each batch), ``init_b_dec``, ``train`` (each step)."""

    def should_stop(self) -> bool:
        """Asked before every step and every batch of the estimate. After a stop the SAEs can be saved,
        and training can go on from the state of their trainers."""
        ...

    def take_checkpoint_request(self) -> bool:
        """Asked after every step; answering true takes the request."""
        ...

    def on_checkpoint(self, kind: CheckpointKind, n_training_samples: int) -> None:
        """A checkpoint is due: the files come from ``sae_files`` of each trainer."""


class TrainerCallbacks(RunCallbacks, Protocol):
    """A trainer's only view of the worker: its run, and what concerns its SAE."""

    def on_metrics(self, step: int, row: dict[str, float]) -> None:
        """The metrics of a logging step, under SAELens' names (reference §4.3)."""

    def on_sparsity(self, step: int, row: dict[str, float], log10_frequency_F: Tensor) -> None:
        """A sampling window is full. The tensor is the histogram's data: float32 ``[F]`` on the SAE's
        device."""

    def on_kernels(self, step: int, kernels: str) -> None:
        """From the step after this one on the work is done by other kernels: the density of the latents made it pay."""

    def evaluate(self, step: int) -> dict[str, float] | None:
        """Run the evaluations; the SAE is in eval mode and takes activations through the trainer's scaler."""
