"""Training failures with a name: numbers that are not finite, memory that is not there, a compiler that
gives up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from pyworker.errors import WorkerError
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import StepOutput
from pyworker.train.health import UsualLoss
from pyworker.train.training_state import State
from pyworker.train.transfer import Transfer


@dataclass
class _Step:
    """What is said of a step that is not finite."""

    finite: Transfer
    number: int
    lr: float
    x_BD: Tensor
    losses: dict[str, Tensor]
    grad_norm: Tensor


class FiniteSteps:
    """Stops training before the optimizer writes a number that is not finite into the weights.

    On a GPU the host does not wait to know: the device itself keeps the optimizer from writing, in that step and all
    that follow, and the failure is raised one step later, or when :meth:`settle` is called.

    Args:
        optimizer: fused.
        dtype: of the SAE, named where it is not float32.
        device: where the SAE is.
    """

    def __init__(self, optimizer: Adam, dtype: str, device: str):
        self.optimizer, self.dtype = optimizer, dtype
        self.lags = torch.device(device).type == "cuda"
        self._unknown: _Step | None = None

    def check(self, number: int, lr: float, x_BD: Tensor, output: StepOutput, grad_norm: Tensor) -> None:
        """Called between the gradients and the optimizer.

        Raises:
            WorkerError: NOT_FINITE, naming the step, the terms, the largest activation, the learning rate, and the
                dtype where it is not float32.
        """
        finite = torch.isfinite(output.loss.detach() + grad_norm)
        losses = {name: value.detach() for name, value in output.losses.items()}
        step = _Step(Transfer(finite), number, lr, x_BD, losses, grad_norm)
        if self.lags:
            broken = (~finite).float()
            before = getattr(self.optimizer, "found_inf", broken)
            self.optimizer.found_inf = torch.maximum(before, broken)  # what torch's scaler of gradients uses
            self.settle()
            self._unknown = step
        elif not step.finite.get():
            raise _not_finite(step, self.dtype)

    def settle(self) -> None:
        """Wait until it is known of every step. Raises as :meth:`check`."""
        step, self._unknown = self._unknown, None
        if step is not None and not step.finite.get():
            raise _not_finite(step, self.dtype)


def _not_finite(step: _Step, dtype: str) -> WorkerError:
    terms = {
        **{name: value.item() for name, value in step.losses.items()},
        "gradient_norm": step.grad_norm.item(),
    }
    broken = [name for name, value in terms.items() if not torch.isfinite(torch.tensor(value))]
    largest = step.x_BD.abs().max().item()
    narrow = "" if dtype == "float32" else f", dtype {dtype}"
    return WorkerError(
        "NOT_FINITE",
        f"training step {step.number}: {', '.join(broken) or 'loss'} not finite "
        f"(largest activation {largest:.4g}, learning rate {step.lr:.4g}{narrow}); "
        f"the weights are those of step {step.number - 1}",
        hint=f"{'Set dtype to float32, l' if narrow else 'L'}ower lr, lengthen lr_warm_up_steps, or set "
        "normalize_activations to expected_average_only_in."
        if torch.isfinite(step.x_BD).all()
        else "The activations are not finite in sae.dtype: set it to float32, or normalize_activations to none.",
        details={
            "step": step.number,
            "terms": {name: str(value) for name, value in terms.items()},
            "max_abs_activation": str(largest),
            "lr": step.lr,
            "dtype": dtype,
        },
    )


class ExplosionStop:
    """Ends training before the optimizer writes what a loss out of all proportion asks for (faults T5).

    Args:
        wanted: ``stop_on_loss_explosion``; without it no loss is looked at.
    """

    def __init__(self, wanted: bool):
        self.wanted, self.usual = wanted, UsualLoss()

    def check(self, number: int, lr: float, x_BD: Tensor, loss: Tensor) -> None:
        """Called between the gradients and the optimizer.

        Raises:
            WorkerError: LOSS_EXPLODED, naming the step, the loss and what it was, the largest activation and the
                learning rate.
        """
        if not self.wanted:
            return
        seen = loss.item()
        usual = self.usual.exploded(seen)
        if usual is None:
            return
        largest = x_BD.abs().max().item()
        raise WorkerError(
            "LOSS_EXPLODED",
            f"training step {number}: the loss is {seen:.4g}, and was {usual:.4g} until then "
            f"(largest activation {largest:.4g}, learning rate {lr:.4g}); "
            f"the weights are those of step {number - 1}",
            hint="Lower lr, lengthen lr_warm_up_steps, or look at the data of this step; "
            "without stop_on_loss_explosion it is a warning.",
            details={"step": number, "loss": seen, "median": usual, "max_abs_activation": largest, "lr": lr},
        )

    def state(self) -> State:
        """All that :meth:`restore` needs: ``losses``, float64."""
        return {"losses": torch.tensor([*self.usual.losses], dtype=torch.float64)} if self.wanted else {}

    def restore(self, state: State) -> None:
        """Judge as one that was never interrupted; anew, where the checkpoint is of a run without the option."""
        self.usual = UsualLoss(state["losses"].tolist() if "losses" in state else ())


@contextmanager
def named_memory_errors(config: LanguageModelSAERunnerConfig) -> Iterator[None]:
    """Turn a failed allocation into OUT_OF_MEMORY with what can be made smaller.

    Raises:
        WorkerError: OUT_OF_MEMORY.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "can't allocate memory" not in str(error):
            raise
        sae = config.sae
        raise WorkerError(
            "OUT_OF_MEMORY",
            f"training an SAE of {sae.d_sae} latents on batches of {config.train_batch_size_tokens} on "
            f"{config.device}: {error}",
            hint="Lower train_batch_size_tokens, d_sae, n_batches_in_buffer or store_batch_size_prompts, "
            "or use autocast.",
        ) from error


@contextmanager
def named_compile_errors(mode: str | None) -> Iterator[None]:
    """Say that it was ``compile_sae`` that failed.

    Raises:
        WorkerError: TRAINING_FAILED.
    """
    try:
        yield
    except (WorkerError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise WorkerError(
            "TRAINING_FAILED",
            f"compile_sae with sae_compilation_mode {mode!r}: torch.compile failed: {error}",
            hint="Train without compile_sae, or install what the message names (a C++ compiler on CPU).",
        ) from error
