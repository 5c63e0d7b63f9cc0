"""What a Python environment has, for ``sae-lens-ts doctor``. A broken package hides no other."""

import importlib
import importlib.metadata
import json
import platform
import shutil
import sys
from typing import Any


def probe(distributions: list[str], modules: list[str]) -> dict[str, Any]:
    """Looks at the running interpreter.

    Args:
        distributions: packages whose installed version is wanted.
        modules: what to import, for a package can be installed and broken.

    Returns:
        ``python``, ``executable``, ``versions`` {distribution: version or null},
        ``imports`` {module: error or null}, ``torch`` (see ``_torch``) and ``curve``, whether pyzmq can
        encrypt; null where the package is broken.
    """
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": {name: _version(name) for name in distributions},
        "imports": {name: _import_error(name) for name in modules},
        "torch": _try(_torch),
        "curve": _try(lambda: importlib.import_module("zmq").has("curve")),
    }


def _torch() -> dict[str, Any]:
    """Build and devices of torch; ``bf16`` says for each device whether it computes in bfloat16."""
    import torch

    cuda = torch.version.cuda
    mps = torch.backends.mps.is_available()
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
    x_22 = torch.ones(2, 2, dtype=torch.bfloat16)
    return {
        "version": torch.__version__,
        "cuda_build": cuda,
        "cuda_devices": devices,
        "driver": shutil.which("nvidia-smi") is not None,
        "mps": mps,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "bf16": {
            "cpu": bool((x_22 @ x_22)[0, 0] == 2),
            "cuda": torch.cuda.is_bf16_supported() if devices else None,
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _import_error(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


def _try(question: Any) -> Any:
    try:
        return question()
    except BaseException:
        return None


if __name__ == "__main__":
    # Without pythonia: the same probe as a plain process, arguments as JSON.
    print(json.dumps(probe(*json.loads(sys.argv[1]))))
