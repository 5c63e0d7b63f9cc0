"""When checkpoints are due: one rule for each vocabulary, the same as in src/plan/checkpoints.ts."""

import pytest

from pyworker.train import checkpoints


@pytest.mark.parametrize(
    ("vocabulary", "total", "n", "expected"),
    [
        ("v6", 1000, 0, []),
        ("v6", 1000, 3, [250, 500, 750]),
        ("v6", 1000, 6, [143, 286, 429, 572, 715, 858]),
        ("v6", 2, 5, [1]),
        ("v5", 1000, 0, []),
        ("v5", 1000, 1, []),
        ("v5", 1000, 3, [333, 666, 999]),
        ("v5", 384, 6, [64, 128, 192, 256, 320]),
        ("v5", 2, 5, []),
    ],
)
def test_thresholds_divide_the_run_as_their_vocabulary_does(make_config, vocabulary, total, n, expected):
    config = make_config("standard", {"n_checkpoints": n}, vocabulary=vocabulary)
    assert checkpoints.thresholds(config, total) == expected
