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


def test_recurring_checkpoints_by_the_clock_count_from_the_last_one_of_any_kind():
    now = 1000.0
    recurring = checkpoints.Recurring("0.5min", 0, lambda: now)
    seen = []
    for _ in range(10):
        now += 10
        if recurring.is_due(0):
            seen.append(now)
            recurring.written(0)
        if now == 1050:
            recurring.written(0)  # asked for by hand
    assert seen == [1030, 1080]


def test_without_checkpoint_every_none_recurs():
    assert not checkpoints.Recurring(None, 0).is_due(10**12)


def test_a_resumed_run_has_its_recurring_checkpoints_where_the_whole_run_has_them():
    whole, resumed = checkpoints.Recurring(100, 0), checkpoints.Recurring(100, 256)
    due = {name: [] for name in ("whole", "resumed")}
    for n in range(64, 1000, 64):
        for name, one in (("whole", whole), ("resumed", resumed)):
            if (name == "whole" or n > 256) and one.is_due(n):
                due[name].append(n)
                one.written(n)
    assert due["resumed"] == [n for n in due["whole"] if n > 256]
