"""The checksums of a cache of activations, compared before its numbers are used.

Training reads a cache in a random order over all of it: the first chunk may come from any file, so that checking
ahead of the reader would be checking everything. All files are read once before the first step, several at a time,
since hashing runs beside the interpreter. What was found whole is remembered beside the data by size and time of the
last change, which the system keeps and a copy does not take along: the next run on the same files reads none again.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.activation_cache_manifest import ShardRecord, write_json

VERIFIED_NAME = ".verified.json"
READ_BYTES = 2**20
MOST_THREADS = 4
TELL_SECONDS = 0.5

GoOn = Callable[[int, int], bool]
"""(bytes read, bytes in all) → whether to go on."""


def verify_cache(cache: ActivationCache, go_on: GoOn, skip_bad_shards: bool = False) -> bool:
    """Compare every file with the manifest; a cache without one, as SAELens writes it, has nothing to compare with.

    Args:
        cache: opened; with ``skip_bad_shards`` those that are damaged are left out of it.
        go_on: called now and then.
        skip_bad_shards: whether to go on without them.

    Returns:
        False when ``go_on`` ended it before all was read.

    Raises:
        WorkerError: ``STORAGE`` naming the first shard that is damaged, and the command that repairs it.
    """
    if cache.manifest is None:
        return True
    known = _remembered(cache.path)
    there = [record for record in cache.manifest.shards if record.file not in cache.skipped]
    unknown = [record for record in there if known.get(record.file) != _seen(cache.path, record)]
    found = damaged_shards(cache.path, unknown, go_on)
    if found is None:
        return False
    cache.require_or_leave_out(found, skip_bad_shards)
    if unknown:
        seen = {record.file: _seen(cache.path, record) for record in there if record.file not in found}
        with suppress(OSError):  # a folder that one may only read is compared each time
            write_json(cache.path / VERIFIED_NAME, seen)
    return True


def damaged_shards(folder: Path, shards: Sequence[ShardRecord], go_on: GoOn) -> dict[str, str] | None:
    """Read files from their first byte to their last.

    Args:
        folder: where they lie.
        shards: what they are to be.
        go_on: called from this thread, now and then.

    Returns:
        by file, in their order, what is wrong with it; None when ``go_on`` ended it.
    """
    total, ended = sum(shard.bytes for shard in shards), threading.Event()
    read = [0] * len(shards)

    def problem(number: int) -> str | None:
        shard = shards[number]

        def on_read(n: int) -> bool:
            read[number] += n
            return not ended.is_set()

        try:
            with (folder / shard.file).open("rb", buffering=0) as file:
                sha256 = file_sha256(file, on_read)
        except FileNotFoundError:
            return "it is missing"
        except OSError as cause:
            return cause.strerror or str(cause)
        if read[number] != shard.bytes:
            return f"it has {read[number]} bytes instead of {shard.bytes}"
        return None if sha256 == shard.sha256 else "it has other content than was written (sha256)"

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        waiting = {pool.submit(problem, number): number for number in range(len(shards))}
        left = set(waiting)
        while left:
            _, left = wait(left, TELL_SECONDS)
            if not go_on(sum(read), total):
                ended.set()
                pool.shutdown(cancel_futures=True)
                return None
    problems = {shards[number].file: future.result() for future, number in waiting.items()}
    return {file: reason for file, reason in problems.items() if reason is not None}


def file_sha256(file: Any, on_read: Callable[[int], bool] = lambda n: True) -> str:
    """Of an open file; ``on_read`` is told the bytes of each read, and ends it with False."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
    while (n := file.readinto(buffer)) and on_read(n):
        digest.update(buffer[:n])
    return digest.hexdigest()


def _seen(folder: Path, record: ShardRecord) -> dict[str, Any]:
    """What tells that a file is still the one that was compared."""
    found = (folder / record.file).stat()
    return {"bytes": found.st_size, "changed_ns": found.st_ctime_ns, "sha256": record.sha256}


def _remembered(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / VERIFIED_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
