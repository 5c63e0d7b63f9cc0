"""The files of a training state: nothing changes on the way through them, and what is damaged is refused."""

import json

import pytest
import torch

from pyworker.errors import WorkerError
from pyworker.files import write_files
from pyworker.train.training_state import STATE_FILE, TENSORS_FILE, part_of, read_state, state_files, under

STATE = {
    "trainer.n": 2**60 + 1,
    "trainer.factor": 0.1 + 0.2,
    "trainer.tiny": 5e-324,
    "trainer.none": None,
    "trainer.flag": True,
    "stream.x_ND": torch.randn(3, 2).bfloat16(),
    "stream.empty_ND": torch.empty(0, 2),
    "stream.scalar": torch.tensor(1.5, dtype=torch.float64),
    "stream.generator": torch.Generator().get_state(),
    "stream.transposed": torch.arange(6).view(2, 3).T,
}


def test_a_state_comes_back_as_it_was(tmp_path):
    write_files(state_files(STATE), tmp_path)
    state = read_state(tmp_path)
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        if isinstance(value, torch.Tensor):
            assert state[name].dtype == value.dtype and torch.equal(state[name], value), name
        else:
            assert state[name] == value and type(state[name]) is type(value), name
    assert part_of(state, "trainer")["n"] == 2**60 + 1
    assert part_of(under("a.b", {"c": 1, "d.e": 2}), "a") == {"b.c": 1, "b.d.e": 2}


@pytest.mark.parametrize("name", [STATE_FILE, TENSORS_FILE])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "other"])
def test_a_damaged_state_is_refused(tmp_path, name, damage):
    write_files(state_files(STATE), tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": b"[1, 2]"}[damage])
    with pytest.raises(WorkerError, match="Cannot go on from") as caught:
        read_state(tmp_path)
    assert caught.value.code == "SAE_INVALID"


def test_a_state_of_a_later_version_is_refused(tmp_path):
    write_files(state_files(STATE), tmp_path)
    path = tmp_path / STATE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(WorkerError, match="a later version"):
        read_state(tmp_path)
