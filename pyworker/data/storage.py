"""Files that are there whole or not at all, and failures of the disk in words."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pyworker.errors import WorkerError


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it gets its name when its bytes are on the disk.

    Raises:
        WorkerError: ``STORAGE``.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with storage_failures_named(path):
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside the folder durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def storage_failures_named(path: Path, option: str = "save_path") -> Iterator[None]:
    """What the system says of a place that cannot be written, which ``option`` named.

    Raises:
        WorkerError: ``STORAGE``, with what to do.
    """
    try:
        yield
    except OSError as cause:
        full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise WorkerError(
            "STORAGE",
            f"cannot write {str(path)!r}: {cause.strerror or cause}",
            hint="free some space, then run the same command again: it continues"
            if full
            else f"choose a place that you may write to: {option}",
            details={"path": str(path), "errno": cause.errno},
        ) from cause
