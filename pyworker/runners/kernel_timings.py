"""What was timed on this machine, so that the next run at a shape chooses as the last one did."""

import json
import os
from contextlib import suppress
from pathlib import Path

import msgspec
import torch

from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.runners.provenance import machine

_Timings = dict[str, dict[str, float]]


def timing_name(config: LanguageModelSAERunnerConfig) -> str:
    """What decides how long a step takes: shape and arithmetic, device, threads, versions."""
    sae, at = config.sae, machine(config.sae.device)
    parts = [
        type(sae).__struct_config__.tag,
        f"{sae.d_in} -> {sae.d_sae}",
        f"k {sae.k}" if hasattr(sae, "k") else "",
        sae.dtype,
        "autocast" if config.autocast else "",
        "two stages" if getattr(sae, "two_stage_selection", False) else "",
        str(at.get("gpu", at["cpu"])),
        f"{torch.get_num_threads()} threads",
        f"torch {torch.__version__}",
    ]
    return ", ".join(part for part in parts if part)


def read_timing(path: Path, name: str) -> dict[str, float] | None:
    """What is known; a file that is not there or not whole knows nothing."""
    return _read(path).get(name)


def keep_timing(path: Path, name: str, timing: dict[str, float]) -> None:
    """Add to the file. Where that is not possible, the next run measures again."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({**_read(path), name: timing}, indent=1) + "\n")
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()


def _read(path: Path) -> _Timings:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Timings)
    except (OSError, msgspec.MsgspecError):
        return {}
