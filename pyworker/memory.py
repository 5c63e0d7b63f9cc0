"""How much memory is left to this process: to the machine, and to the control groups that it is in."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil


class Names(NamedTuple):
    """The files of a control group, and the line of ``memory.stat`` with what the kernel takes back first: files it
    has read or written and nobody uses."""

    limit: str
    usage: str
    reclaimable: str


OLD = Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
NEW = Names("memory.max", "memory.current", "inactive_file")


def free_memory(own: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes. A container, a job of a scheduler or a service may have less than its machine (cgroups(7)).

    Args:
        own: tells which groups we are in.
        mounted: where they are mounted.
    """
    return min([psutil.virtual_memory().available, *_left_to_groups(own, mounted)])


def _left_to_groups(own: Path, mounted: Path) -> Iterator[int]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        is_old = "memory" in controllers.split(",")
        if not is_old and controllers:
            continue
        root, names = (mounted / "memory", OLD) if is_old else (mounted, NEW)
        group = root / path.strip("/")
        # The limits of those around it hold too. A container may see its own group as the root, and its path as the
        # machine names it: what is not there is passed over.
        for folder in (group, *group.parents):
            left = _left_to(folder, names)
            if left is not None:
                yield left
            if folder == root:
                break


def _left_to(group: Path, names: Names) -> int | None:
    """Null without a limit."""
    try:
        limit, usage = (int((group / name).read_text()) for name in (names.limit, names.usage))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return limit - usage + int(stat[names.reclaimable])
    except (OSError, ValueError, KeyError):
        return None
