"""A cache may be trained on past its bad shards: what is left out is told, and decides the data of the run."""

import sys
from pathlib import Path

import pytest
import torch

from pyworker.errors import WorkerError

sys.path.insert(0, str(Path(__file__).parent))
import test_resumed_training
import test_training_rows
from test_resumed_training import run, weights

place, configure, cache = test_training_rows.place, test_training_rows.configure, test_training_rows.cache


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-300] ^= 4
    path.write_bytes(data)


def test_past_bad_shards_a_run_repeats_and_goes_on_and_with_others_left_out_it_is_refused(
    configure, cache, tmp_path, monkeypatch
):
    lines, started = [], []
    monkeypatch.setattr(
        test_resumed_training.Session, "log", lambda self, level, message: lines.append((level, message))
    )
    event = test_resumed_training.Session.event

    def on_event(self, kind, /, **data):
        started.extend([data] if kind == "started" else [])
        event(self, kind, **data)

    monkeypatch.setattr(test_resumed_training.Session, "event", on_event)
    options = {"use_cached_activations": True, "cached_activations_path": str(cache), "dataset_path": ""}
    config = configure(**options, training_tokens=64 * 12, skip_bad_shards=True)
    first, second, *_ = sorted(cache.glob("*.arrow"))
    untouched = first.read_bytes()
    flip(first)
    with pytest.raises(WorkerError, match=first.name) as refused:
        run(configure(**options), tmp_path / "strict")
    assert refused.value.code == "STORAGE"

    one = run(config, tmp_path / "one")
    (said,) = [message for level, message in lines if level == "warning" and "left out" in message]
    lost = started[-1]["n_skipped_tokens"]
    assert lost > 0 and f"{lost} of its tokens" in said and f"{first.name}: it has other content" in said

    stopped = run(config, tmp_path / "stopped", None, 5)
    at = tmp_path / "stopped/checkpoints/320"
    rest = run(config, tmp_path / "rest", at)
    assert stopped.rows + rest.rows == one.rows
    ours, theirs = weights(tmp_path / "rest"), weights(tmp_path / "one")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    first.write_bytes(untouched)
    with pytest.raises(WorkerError, match=f"without no shard now, and was without {first.name}") as refused:
        run(config, tmp_path / "repaired", at)
    assert refused.value.code == "RESUME_REFUSED"
    second.unlink()
    with pytest.raises(WorkerError, match=f"without {second.name} now, and was without {first.name}"):
        run(config, tmp_path / "other", at)
    first.unlink()
    with pytest.raises(WorkerError, match="holds no sequence"):
        run(config, tmp_path / "nothing")
