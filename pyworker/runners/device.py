"""Is the device there that somebody named?"""

import torch

from pyworker.errors import WorkerError


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
