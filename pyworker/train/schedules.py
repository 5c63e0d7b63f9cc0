"""Learning rate and loss coefficients as pure functions of the step (reference §2.1; golden v5/lr_schedules_v5)."""

import math

from pyworker.errors import WorkerError
from pyworker.saes import Coefficient


class LearningRateSchedule:
    """Linear warm-up, a named middle, linear decay to zero.

    Args:
        name: ``constant``, ``cosineannealing`` or ``cosineannealingwarmrestarts``.
        lr: the rate after warm-up.
        total_steps: whole batches of the run; a last one that reaches beyond the last token is not counted.
        lr_end: the rate at the end of a cosine, and where its decay starts; ``constant`` does not use it.
        warm_up_steps: steps in which the rate grows from 0.
        decay_steps: steps at the end in which it falls to 0.
        n_restart_cycles: cycles of the middle; the last is cut short when they do not divide it.

    Raises:
        WorkerError: CONFIG_INVALID, for settings that SAELens crashes on or turns into nonsense (trap 15).
    """

    def __init__(
        self,
        name: str,
        lr: float,
        lr_end: float,
        total_steps: int,
        *,
        warm_up_steps: int = 0,
        decay_steps: int = 0,
        n_restart_cycles: int = 1,
    ):
        self.name, self.lr, self.total_steps = name, lr, total_steps
        self.warm_up_steps, self.decay_steps = warm_up_steps, decay_steps
        self.middle_steps = total_steps - warm_up_steps - decay_steps
        self.floor = 1.0 if name == "constant" else lr_end / lr
        self.period = self.middle_steps
        if name == "cosineannealingwarmrestarts":
            self.period = self.middle_steps // max(n_restart_cycles, 1)
        self._check(lr_end, n_restart_cycles)

    def _check(self, lr_end: float, n_restart_cycles: int) -> None:
        steps = f"{self.total_steps} whole batches, warm-up {self.warm_up_steps}, lr_decay_steps {self.decay_steps}"
        if self.name not in ("constant", "cosineannealing", "cosineannealingwarmrestarts"):
            raise _invalid(
                f"lr_scheduler_name {self.name!r} does not exist",
                "Choose constant, cosineannealing or cosineannealingwarmrestarts.",
            )
        if self.middle_steps < 0:
            raise _invalid(f"{steps}: warm-up and decay overlap", "Make them shorter, or train longer.")
        if self.name == "constant":
            return
        if self.name == "cosineannealing" and self.period == 0 and self.decay_steps == 0:
            raise _invalid(f"{steps}: no step is left for the cosine", "Shorten the warm-up.")
        if self.name == "cosineannealingwarmrestarts" and self.period < 1:
            raise _invalid(
                f"{steps}: {self.middle_steps} steps do not hold {n_restart_cycles} restart cycles",
                "Use fewer cycles, or a shorter warm-up and decay.",
            )
        if self.decay_steps > 0 and not 0 < lr_end <= self.lr:
            raise _invalid(
                f"lr_decay_steps {self.decay_steps} with lr {self.lr} and lr_end {lr_end}: "
                "the decay starts at lr_end",
                "lr_end must be above 0 and at most lr.",
            )

    def at(self, step: int) -> float:
        """The learning rate that the 0-based step uses."""
        return self.lr * self._factor(step)

    def _factor(self, step: int) -> float:
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        decay_start = self.total_steps - self.decay_steps
        if self.decay_steps > 0 and step >= decay_start:
            return self.floor * max(0.0, 1 - (step - decay_start) / self.decay_steps)
        if self.name == "constant":
            return 1.0
        elapsed = step - self.warm_up_steps
        if self.name == "cosineannealingwarmrestarts":
            # A step beyond the schedule, which a last incomplete batch makes, begins no new cycle.
            elapsed = min(elapsed, self.middle_steps - 1) % self.period
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * elapsed / self.period)) / 2


def coefficient_at(coefficient: Coefficient, step: int) -> float:
    """The coefficient that the 0-based step uses: it grows from 0 in a straight line."""
    if step >= coefficient.warm_up_steps:
        return coefficient.value
    return coefficient.value * step / coefficient.warm_up_steps


def _invalid(problem: str, hint: str) -> WorkerError:
    return WorkerError("CONFIG_INVALID", f"making the learning rate schedule: {problem}", hint=hint)
