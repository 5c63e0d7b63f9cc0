"""Devices of this machine."""

import torch

from pyworker.errors import WorkerError


def best_device() -> str:
    """What ``auto`` stands for on this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(option: str, device: str) -> None:
    """Before minutes are spent on loading what is to lie there.

    Raises:
        WorkerError: DEVICE_UNAVAILABLE.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        there = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise WorkerError(
            "DEVICE_UNAVAILABLE",
            f"{option} is {device}: {str(error).splitlines()[0]}",
            hint=f"This machine has cpu{''.join(', ' + d for d in there)}; `sae-lens-ts doctor` tells why.",
        ) from error
