"""Where a model comes from: the hub, a local folder, or a GGUF file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyworker.errors import WorkerError
from pyworker.lm.names import nearest

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class ModelSource:
    """``name`` is what transformers is given: a hub name or a folder."""

    name: str
    local: bool
    gguf_file: str | None

    @property
    def has_tokenizer_files(self) -> bool:
        """Whether a tokenizer lies in the folder, beside the weights."""
        folder = Path(self.name)
        return self.local and any(
            (folder / file).exists() for file in ("tokenizer.json", "tokenizer_config.json")
        )


def find_source(model_name: str, from_pretrained_kwargs: dict[str, Any]) -> ModelSource:
    """Tell local files from hub names.

    Raises:
        WorkerError: MODEL_NOT_FOUND for a path that does not exist; MODEL_LOAD_FAILED for a folder of several
            GGUF files when none is chosen.
    """
    chosen = from_pretrained_kwargs.get("gguf_file")
    path = Path(model_name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return ModelSource(str(path.parent), True, path.name)
    if path.is_dir():
        return ModelSource(str(path), True, chosen or _only_gguf(path))
    looks_like_a_path = path.is_absolute() or model_name.startswith((".", "~")) or model_name.count("/") > 1
    if looks_like_a_path or path.suffix == ".gguf":
        siblings = [str(other) for other in path.parent.iterdir()] if path.parent.is_dir() else []
        names = nearest(str(path), siblings)
        raise WorkerError(
            "MODEL_NOT_FOUND",
            f"The model '{model_name}' is a path, and nothing is there.",
            f"Nearest: {', '.join(names)}." if names else f"The folder {path.parent} has no such entry.",
            {"model_name": model_name, "nearest": names},
        )
    return ModelSource(model_name, False, chosen)


def _only_gguf(folder: Path) -> str | None:
    """The GGUF file of a folder that has no other weights."""
    if any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        return None
    files = sorted(file.name for file in folder.glob("*.gguf"))
    if len(files) > 1:
        raise WorkerError(
            "MODEL_LOAD_FAILED",
            f"The folder {folder} holds {len(files)} GGUF files: {', '.join(files)}.",
            'Name one of them, or set model_from_pretrained_kwargs {"gguf_file": "…"}.',
            {"files": files},
        )
    return files[0] if files else None
