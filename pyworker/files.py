"""Files that lie in memory until they are written: whoever made them may go on meanwhile."""

import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

READABLE = 0o644

Files = dict[str, str | dict[str, Tensor]]
"""Name below a folder → text, or the tensors of a safetensors file."""


def size_of(files: Files) -> int:
    """Bytes of all tensors and texts."""
    return sum(
        len(content) if isinstance(content, str) else sum(tensor.nbytes for tensor in content.values())
        for content in files.values()
    )


def write_files(files: Files, folder: Path) -> None:
    """Write them and bring them to the disk. Atomicity is the caller's: the folder is a staging folder.

    Raises:
        OSError, SafetensorError: what cannot be written. Some of the files may be there.
    """
    paths = {folder / name: content for name, content in files.items()}
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, content in paths.items():
        if isinstance(content, str):
            path.write_text(content)
        else:
            save_file({name: t.detach().cpu().contiguous() for name, t in content.items()}, path)
    for path in paths:
        path.chmod(READABLE)  # safetensors makes its files readable for their owner only
        with path.open("rb") as file:
            os.fsync(file.fileno())
