"""What the zip archives of numpy and torch promise, looked at before anything of them is unpacked."""

import zipfile
from pathlib import Path

MOST_UNPACKED = 8
"""Weights are all but random: packed, they are hardly smaller. What unpacks to more is made to fill memory."""


def check_unpacked_size(path: Path) -> None:
    """Nothing for a file that is no zip archive: its reader says what it is.

    Raises:
        ValueError: when it says of itself that it unpacks to more than weights do.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_UNPACKED * path.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked} bytes, over {MOST_UNPACKED} times its size")
