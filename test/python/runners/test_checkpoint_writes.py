"""A checkpoint whose write fails or is killed at any call of the system: what is there before stays, and of the new one
there is nothing, or a staging folder without a manifest, which does not exist for anybody."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from test_training import Session, config, place, run

from pyworker.errors import WorkerError
from pyworker.runners.checkpoint_writer import CheckpointWriter

CALLS = ("open", "os.mkdir", "os.chmod", "os.rename", "os.link", "os.remove")
"""Audit events (PEP 578) of what touches files, besides ``os.fsync``, which has none. What Rust does in safetensors is
cut off by size in test_full_disk.py."""
DEADLINE_S = 30
KILLED, REFUSED, WRITTEN = -signal.SIGKILL, 7, 0

__all__ = ["place"]


def fail_at(n: int, fate: str, below: Path) -> None:
    """The n-th call from now on that touches a file below this folder fails. For a process of its own: it cannot be
    taken back."""
    left = n

    def count() -> None:
        nonlocal left
        left -= 1
        if left == -1 and fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if left == -1:
            raise OSError(errno.ENOSPC, "No space left on device")

    def hook(event: str, arguments: tuple) -> None:
        if event in CALLS and str(arguments[0]).startswith(str(below)):
            count()

    fsync = os.fsync

    def counted_fsync(number: int) -> None:
        count()
        fsync(number)

    os.fsync = counted_fsync
    sys.addaudithook(hook)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fate", ["killed", "full"])
def test_at_every_call_what_was_there_stays_and_nothing_looks_whole(
    make_config, place, tmp_path, monkeypatch, fate
):
    torch.set_num_threads(1)
    older = tmp_path / "checkpoints" / "1" / "manifest.json"
    older.parent.mkdir(parents=True)
    older.write_text("{}")
    write, ends = CheckpointWriter._put, []

    def write_in_forks(self: CheckpointWriter, files, **told) -> None:
        before = listing(tmp_path)
        while not ends or ends[-1] != WRITTEN:
            pid = os.fork()
            if pid == 0:
                signal.alarm(DEADLINE_S)
                fail_at(len(ends), fate, tmp_path)
                try:
                    write(self, files, **told)
                except WorkerError as error:
                    os._exit(REFUSED if error.code == "STORAGE" else 1)
                except BaseException:
                    os._exit(1)
                os._exit(WRITTEN)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            after = listing(tmp_path)
            assert before.items() <= after.items()
            new = set(after) - set(before)
            assert all(".tmp" in Path(name).parts[1] and "manifest" not in name for name in new), new
            assert not new or fate == "killed" or ends[-1] == WRITTEN, (
                f"left after call {len(ends) - 1}: {new}"
            )
            assert not Path(told["final"]).exists()

    monkeypatch.setattr(CheckpointWriter, "_put", write_in_forks)
    run(
        config(make_config, place, n_checkpoints=1, training_tokens=640, n_eval_batches=0),
        tmp_path,
        Session(),
    )
    assert len(ends) > 8
    assert set(ends[:-1]) == {KILLED if fate == "killed" else REFUSED}
