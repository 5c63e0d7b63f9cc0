"""The stage in which the files of a cache are compared with their checksums."""

from collections.abc import Callable
from typing import Any


def comparing(session: Any) -> Callable[[int, int], bool]:
    """(bytes read, bytes in all) is told; the answer is whether to go on, which ends with a request to stop."""

    def told(read: int, total: int) -> bool:
        session.stage("verify", "comparing the bytes of the cache with its checksums", read, total)
        return not session.stop_requested()

    return told
