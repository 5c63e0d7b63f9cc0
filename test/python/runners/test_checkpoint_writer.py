"""Checkpoints that are written while training goes on: they hold what was, and cost nothing when they fail."""

import threading
from pathlib import Path

import pytest
from test_training import Session, config, place, run

from pyworker.errors import WorkerError
from pyworker.files import write_files
from pyworker.runners import checkpoint_writer
from pyworker.runners.checkpoint_writer import CheckpointWriter

DEADLINE_S = 60

__all__ = ["place"]


class StepsSeen(Session):
    """Knows of each step as it begins; told to, asks for a stop at the first checkpoint."""

    def __init__(self, stops: bool = False):
        super().__init__()
        self.stepped, self.step, self.stops = threading.Condition(), 0, stops

    def stage(self, stage, message="", done=None, total=None):
        super().stage(stage, message, done, total)
        if stage == "train":
            with self.stepped:
                self.step = done
                self.stepped.notify_all()

    def stop_requested(self):
        return self.stops and "checkpoint" in self.events


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()
    }


def test_training_goes_on_meanwhile_and_what_is_written_late_is_what_training_that_waits_would_have_written(
    make_config, place, tmp_path, monkeypatch
):
    options = {"n_checkpoints": 2, "training_tokens": 64 * 30, "n_eval_batches": 0}
    waiting = tmp_path / "waiting"
    run(config(make_config, place, **options, checkpoints_in_background=False), waiting, Session())

    session, late = StepsSeen(), []

    def written_late(files, folder):
        with session.stepped:
            began = session.step
            late.append(session.stepped.wait_for(lambda: session.step > began + 2, DEADLINE_S))
        write_files(files, folder)

    monkeypatch.setattr(checkpoint_writer, "write_files", written_late)
    run(config(make_config, place, **options), tmp_path / "beside", session)
    assert late == [True, True], "training waited"
    assert session.events.count("checkpoint") == 2
    written = files_of(tmp_path / "beside" / "checkpoints")
    assert len(written) == 10 and written == files_of(waiting / "checkpoints")


@pytest.mark.parametrize("free", [0, 100_000], ids=["none", "enough for the weights, not for the buffer"])
def test_where_no_memory_is_free_training_waits(make_config, place, tmp_path, monkeypatch, free):
    monkeypatch.setattr(checkpoint_writer, "free_memory", lambda: free)
    threads = []

    def watched(files, folder):
        threads.append(threading.current_thread().name)
        write_files(files, folder)

    monkeypatch.setattr(checkpoint_writer, "write_files", watched)
    session = Session()
    options = {"n_checkpoints": 1, "n_eval_batches": 0, "n_batches_in_buffer": 64}
    run(config(make_config, place, **options), tmp_path, session)
    assert threads == ["MainThread"] and "checkpoint" in session.events


def test_one_that_has_no_room_is_told_of_and_the_run_goes_on_to_the_next(
    make_config, place, tmp_path, monkeypatch
):
    tried = []

    def full_at_first(files, folder):
        write_files(files, folder)
        tried.append(folder)
        if len(tried) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_writer, "write_files", full_at_first)
    session = Session()
    result = run(config(make_config, place, n_checkpoints=2, n_eval_batches=0), tmp_path, session)
    assert result["ended"] == "done"
    assert session.events.count("checkpoint") == 1
    assert [path.exists() for path in tried] == [False, True]
    assert any(
        "No space left" in line and "goes on without this checkpoint" in line for line in session.lines
    )


def test_a_failure_that_nobody_foresaw_ends_the_run(make_config, place, tmp_path, monkeypatch):
    def broken(files, folder):
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoint_writer, "write_files", broken)
    with pytest.raises(ZeroDivisionError):
        run(config(make_config, place, n_checkpoints=1, n_eval_batches=0), tmp_path, Session())


def test_a_run_that_fails_leaves_the_checkpoint_that_was_being_written(
    make_config, place, tmp_path, monkeypatch
):
    failed = threading.Event()

    def after_the_failure(files, folder):
        assert failed.wait(DEADLINE_S)
        write_files(files, folder)

    class Failing(Session):
        def metrics(self, name, row):
            if row["step"] == 9:
                failed.set()
                raise WorkerError("TRAINING_FAILED", "on purpose")

    monkeypatch.setattr(checkpoint_writer, "write_files", after_the_failure)
    session = Failing()
    options = config(make_config, place, n_checkpoints=1, n_eval_batches=0)
    options.logger.wandb_log_frequency = 1
    with pytest.raises(WorkerError, match="on purpose"):
        run(options, tmp_path, session)
    assert "checkpoint" in session.events


def test_a_stop_behind_a_checkpoint_does_not_write_it_again(make_config, place, tmp_path, monkeypatch):
    checkpoint = CheckpointWriter.checkpoint

    def until_written(self, *of):
        checkpoint(self, *of)
        self.wait()

    monkeypatch.setattr(CheckpointWriter, "checkpoint", until_written)
    session = StepsSeen(stops=True)
    result = run(config(make_config, place, n_checkpoints=1, n_eval_batches=0), tmp_path, session)
    assert result["ended"] == "stopped" and session.events.count("checkpoint") == 1
