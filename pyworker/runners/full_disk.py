"""What a run was for must not be lost to a full disk while somebody could free some of it."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyworker.errors import WorkerError

PATIENCE_S = 600.0
RETRY_S = 5.0
LOOK_S = 0.5
FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: Exception) -> bool:
    """Whether a write failed for want of room. Safetensors tells the system's error in words only."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL)


def until_there_is_room(write: Callable[[], None], place: Path, session: Any) -> None:
    """Write; when there is no room, say so and try again, for ten minutes or until the run is to stop.

    Args:
        write: raises ``STORAGE`` with the detail ``full``; what it left must not be in the way of the next try.
        place: named in what is said.
        session: the request, see :class:`pyworker.session.Session`.

    Raises:
        WorkerError: what ``write`` raised last, or first for anything but a full disk.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return write()
        except WorkerError as error:
            waited = time.monotonic() - began
            if not error.details.get("full") or waited > PATIENCE_S or session.stop_requested():
                raise
            if not told:
                minutes = round(PATIENCE_S / 60)
                session.log(
                    "warning", f"{error.message}; free space there: it is tried again for {minutes} minutes"
                )
                told = True
        retry_at = time.monotonic() + RETRY_S
        while time.monotonic() < retry_at and not session.stop_requested():
            # A sign of life: this may be longer than a stage may be silent.
            session.stage(
                "wait_for_room", f"waiting for room on the disk of {place}", int(waited), int(PATIENCE_S)
            )
            time.sleep(LOOK_S)
