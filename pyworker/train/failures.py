"""Training failures with a name: numbers that are not finite, memory that is not there, a compiler that
gives up."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyworker.errors import WorkerError
from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import StepOutput


def check_finite(
    step: int, lr: float, x_BD: Tensor, output: StepOutput, grad_norm: Tensor, dtype: str
) -> None:
    """Stop before the optimizer writes a number that is not finite into the weights. Costs one sync with
    the device.

    Raises:
        WorkerError: NOT_FINITE, naming the step, the terms, the largest activation, the learning rate, and the
            dtype where it is not float32.
    """
    if torch.isfinite(output.loss.detach() + grad_norm):
        return
    terms = {
        **{name: value.item() for name, value in output.losses.items()},
        "gradient_norm": grad_norm.item(),
    }
    broken = [name for name, value in terms.items() if not torch.isfinite(torch.tensor(value))]
    largest = x_BD.abs().max().item()
    narrow = "" if dtype == "float32" else f", dtype {dtype}"
    raise WorkerError(
        "NOT_FINITE",
        f"training step {step}: {', '.join(broken) or 'loss'} not finite "
        f"(largest activation {largest:.4g}, learning rate {lr:.4g}{narrow}); "
        f"the weights are those of step {step - 1}",
        hint=f"{'Set dtype to float32, l' if narrow else 'L'}ower lr, lengthen lr_warm_up_steps, or set "
        "normalize_activations to expected_average_only_in."
        if torch.isfinite(x_BD).all()
        else "The activations are not finite in sae.dtype: set it to float32, or normalize_activations to none.",
        details={
            "step": step,
            "terms": {name: str(value) for name, value in terms.items()},
            "max_abs_activation": str(largest),
            "lr": lr,
            "dtype": dtype,
        },
    )


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
