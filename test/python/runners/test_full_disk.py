"""Files of an SAE that there is no room for: typed, whole or not there, and tried again where the run was for them."""

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from pyworker.errors import WorkerError
from pyworker.runners import full_disk
from pyworker.runners.full_disk import is_full, until_there_is_room
from pyworker.saes import create_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

MOUNT = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs"]


class Session:
    """Asks for a stop after so many looks."""

    def __init__(self, stop_after=10**9):
        self.said, self.stages, self.left = [], 0, stop_after

    def log(self, level, message):
        self.said.append((level, message))

    def stage(self, *_):
        self.stages += 1
        self.left -= 1

    def stop_requested(self):
        return self.left <= 0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(full_disk, "RETRY_S", 0.02)
    monkeypatch.setattr(full_disk, "LOOK_S", 0.005)


def failing(times: int, full: bool = True):
    """A write that fails so often; how often it was tried."""
    tried = []

    def write():
        tried.append(None)
        if len(tried) <= times:
            raise WorkerError("STORAGE", "Cannot write", details={"full": full})

    return write, tried


def test_what_the_run_was_for_is_tried_again_until_there_is_room_and_that_is_said_once():
    (write, tried), session = failing(3), Session()
    until_there_is_room(write, Path("output"), session)
    assert len(tried) == 4 and session.stages > 3
    assert session.said == [("warning", "Cannot write; free space there: it is tried again for 10 minutes")]


@pytest.mark.parametrize(
    ("full", "stop_after", "patience"), [(False, 10**9, 600), (True, 5, 600), (True, 10**9, 0.05)]
)
def test_it_ends_with_another_failure_a_stop_or_the_end_of_patience(monkeypatch, full, stop_after, patience):
    monkeypatch.setattr(full_disk, "PATIENCE_S", patience)
    write, tried = failing(10**9, full)
    with pytest.raises(WorkerError, match="Cannot write"):
        until_there_is_room(write, Path("output"), Session(stop_after))
    assert len(tried) < 20


def save(folder: Path, make_config) -> None:
    sae = create_sae(make_config("topk").sae, seeded_generator(0))
    save_inference(
        to_inference(sae, ActivationScaler()), folder, {"hook_name": "h"}, torch.zeros(sae.cfg.d_sae)
    )


def test_a_file_cut_off_at_any_length_is_an_error_and_not_a_file_that_looks_whole(tmp_path, make_config):
    """The system's limit of a file's size ends every write there, those of safetensors in Rust included."""
    save(tmp_path / "whole", make_config)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "whole").iterdir()}
    limits = sorted({*range(0, max(sizes.values()), 97), *(size - 1 for size in sizes.values())})
    for limit in limits:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                save(tmp_path / "cut", make_config)
            except BaseException:
                os._exit(7)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == 7, f"files of at most {limit} bytes were written without an error"
    assert not is_full(OSError(13, "no")) and is_full(OSError(28, "no"))


def test_a_full_disk_is_known_as_one_whoever_writes(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or subprocess.run([*MOUNT, disk], check=False).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        for write in (
            lambda: (disk / "text").write_text("x" * 100_000),
            lambda: save_file({"x": torch.ones(100_000)}, disk / "x.safetensors"),
        ):
            with pytest.raises((OSError, SafetensorError)) as caught:
                write()
            assert is_full(caught.value), caught.value
    finally:
        subprocess.run(["umount", disk], check=True)
