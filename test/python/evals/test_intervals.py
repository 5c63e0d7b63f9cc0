"""Intervals by the jackknife: of a mean they are the textbook's, and they hold what they promise."""

import math

import pytest
import torch

from pyworker.evals.intervals import intervals, t_quantile


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227), (200, 1.97190)],
)
def test_the_quantiles_are_those_of_the_tables(degrees, expected):
    assert t_quantile(0.975, degrees) == pytest.approx(expected, rel=1e-5)


def jackknife(values: list[float]) -> tuple[float, float]:
    n, total = len(values), sum(values)
    return intervals({"m": total / n}, [{"m": (total - value) / (n - 1)} for value in values])["m"]


def test_of_a_mean_it_is_the_interval_of_students_t():
    values = [1.0, 2.0, 4.0, 7.0]
    deviation = torch.tensor(values).std().item()
    reach = 3.182446 * deviation / math.sqrt(4)
    assert jackknife(values) == pytest.approx((3.5 - reach, 3.5 + reach), rel=1e-5)


def test_it_holds_the_truth_about_95_times_in_100():
    draws = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)) + 5
    held = sum(low <= 5 <= high for low, high in (jackknife(row.tolist()) for row in draws))
    assert 0.93 < held / len(draws) < 0.97


def test_of_one_batch_or_of_what_is_not_defined_there_is_none():
    assert all(math.isnan(end) for end in intervals({"m": 1.0}, [{"m": math.nan}])["m"])
    assert all(math.isnan(end) for end in intervals({"m": math.nan}, [{"m": 1.0}, {"m": math.nan}])["m"])
