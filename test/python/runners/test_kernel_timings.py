"""What was timed is kept for later runs of this machine; a file that is damaged or cannot be written costs nothing."""

import pytest
from complete_config import config_for

from pyworker.runners.kernel_timings import keep_timing, read_timing, timing_name

NAME = timing_name(config_for("topk", {}, d_in=8, d_sae=64, k=4))
TIMING = {"dense_s": 0.25, "sparse_s": 0.125}


def test_what_is_kept_is_read_beside_what_was_there(tmp_path):
    path = tmp_path / "new" / "kernels.json"
    keep_timing(path, "another", {"dense_s": 1.0})
    keep_timing(path, NAME, TIMING)
    assert (read_timing(path, NAME), read_timing(path, "another")) == (TIMING, {"dense_s": 1.0})
    assert [one.name for one in path.parent.iterdir()] == ["kernels.json"]


@pytest.mark.parametrize("content", [b"", b'{"a', b"[1]", b'{"a": {"dense_s": "fast"}}', b"\xff"])
def test_a_damaged_file_knows_nothing_and_is_replaced(tmp_path, content):
    path = tmp_path / "kernels.json"
    path.write_bytes(content)
    assert read_timing(path, NAME) is None
    keep_timing(path, NAME, TIMING)
    assert read_timing(path, NAME) == TIMING


def test_where_nothing_can_be_kept_nothing_fails(tmp_path):
    (tmp_path / "file").write_text("")
    keep_timing(tmp_path / "file" / "kernels.json", NAME, TIMING)
    assert read_timing(tmp_path / "file" / "kernels.json", NAME) is None


@pytest.mark.parametrize(
    "change", [{"d_sae": 65}, {"k": 5}, {"dtype": "float64"}, {"two_stage_selection": True}]
)
def test_another_shape_or_arithmetic_has_another_name(change):
    assert timing_name(config_for("topk", {}, **{"d_in": 8, "d_sae": 64, "k": 4, **change})) != NAME
