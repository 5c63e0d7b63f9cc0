"""Free memory is what the limits of control groups leave, as a kernel tells of them in either version."""

import subprocess
import sys
from pathlib import Path

import pytest

from pyworker.memory import free_memory

GB = 1 << 30
STAT = f"cache 9\ninactive_file {GB // 8}\n"
OLD_STAT = f"inactive_file 7\ntotal_inactive_file {GB // 8}\n"


def old(group: str, limit: int) -> dict[str, str]:
    files = {"limit_in_bytes": str(limit), "usage_in_bytes": str(GB // 2), "stat": OLD_STAT}
    return {f"memory/{group}memory.{name}": text for name, text in files.items()}


def new(group: str, limit: int | str) -> dict[str, str]:
    return {
        f"{group}memory.{name}": text
        for name, text in {"max": str(limit), "current": str(GB // 2), "stat": STAT}.items()
    }


def free(folder: Path, own: str, files: dict[str, str]) -> int:
    for name, text in {"own": own, **{f"mounted/{name}": text for name, text in files.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return free_memory(folder / "own", folder / "mounted")


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/user/run\n", new("user/run/", GB)),
        ("0::/user/run\n", {**new("user/run/", "max"), **new("user/", GB)}),
        ("0::/\n", new("", GB)),
        ("9:name=systemd:/\n4:cpu,memory:/run\n0::/\n", old("run/", GB)),
        ("4:memory:/a/b\n", {**old("a/b/", 1 << 62), **old("a/", GB)}),
        ("4:memory:/docker/0a\n", old("", GB)),
    ],
    ids=[
        "version 2",
        "a slice around it",
        "a container",
        "version 1",
        "a group around it",
        "an old container",
    ],
)
def test_a_limit_leaves_what_is_not_in_use_or_can_be_taken_back(tmp_path, own, files):
    assert free(tmp_path, own, files) == GB - GB // 2 + GB // 8


@pytest.mark.parametrize(
    ("own", "files"),
    [("0::/\n", {}), ("", {}), ("0::/run\n", new("run/", "max")), ("4:memory:/run\n", old("run/", 1 << 62))],
    ids=["the root", "no groups", "no limit", "no limit, version 1"],
)
def test_without_a_limit_it_is_what_the_machine_has(tmp_path, own, files):
    assert free(tmp_path, own, files) > GB


def test_in_a_group_of_this_machine_it_is_less_than_its_limit():
    root = Path("/sys/fs/cgroup")
    is_old = (root / "memory" / "memory.limit_in_bytes").exists()
    group = (root / "memory" if is_old else root) / "sae-lens-ts-free-memory"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text(str(GB))
    except OSError:
        pytest.skip("needs the right to make a cgroup with memory")
    try:
        program = "import sys; sys.path.insert(0, '.'); from pyworker.memory import free_memory; print(free_memory())"
        line = f'echo $$ > {group}/cgroup.procs; exec "$0" -c "$1"'
        done = subprocess.run(
            ["bash", "-c", line, sys.executable, program], capture_output=True, text=True, check=True
        )
        assert GB // 2 < int(done.stdout) < GB
    finally:
        group.rmdir()
