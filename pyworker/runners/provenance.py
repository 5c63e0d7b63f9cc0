"""What decides the bits of a run and is not in its configuration: written into run.json (design §10)."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from pyworker.protocol.config import LanguageModelSAERunnerConfig

HUB_TIMEOUT_S = 10
PACKAGES = (
    "transformers",
    "transformer-lens",
    "tokenizers",
    "datasets",
    "safetensors",
    "numpy",
    "pyarrow",
    "triton",
)
"""Those whose numbers or order of rows reach the SAE."""
CPU_LIBRARIES = ("mkl", "mkldnn", "openmp")


def versions() -> dict[str, str]:
    """Of the packages that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine(device: str) -> dict[str, str | int | bool | None]:
    """What torch computes with: its build, the libraries and the processor it uses, and the GPU where there is one."""
    facts: dict[str, str | int | bool | None] = {
        "torch_commit": torch.version.git_version,
        "libraries": "+".join(name for name in CPU_LIBRARIES if getattr(torch.backends, name).is_available()),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }
    if torch.device(device).type == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    return facts


def hub_revision(name: str, repo_type: str, revision: str | None = None) -> str | None:
    """The commit that a name of the hub stands for now; None for local files, and where the hub does not say."""
    if name == "" or Path(name).expanduser().exists():
        return None
    try:
        return HfApi().repo_info(name, repo_type=repo_type, revision=revision, timeout=HUB_TIMEOUT_S).sha
    except (HfHubHTTPError, HFValidationError, OSError):  # no connection is an OSError
        return None


def input_revisions(config: LanguageModelSAERunnerConfig) -> dict[str, str]:
    """The commits of a model and a dataset of the hub, as far as they are known."""
    asked = config.model_from_pretrained_kwargs.get("revision")
    found = {
        "model_revision": hub_revision(config.model_name, "model", asked),
        "dataset_revision": hub_revision(config.dataset_path, "dataset"),
    }
    return {name: revision for name, revision in found.items() if revision is not None}


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None
