"""Where the time between two rows went, by a clock that the test moves."""

import pytest

from pyworker.runners.throughput import Throughput


class Clock:
    def __init__(self):
        self.now = self.model = 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds, model=0.0):
        self.now += seconds
        self.model += model


@pytest.fixture
def clock():
    return Clock()


def test_time_is_shared_by_the_language_model_the_data_and_the_sae_and_evaluations_are_none_of_it(clock):
    throughput = Throughput(lambda: clock.model, clock=clock)
    with throughput.waiting():
        clock.pass_by(100, model=90)  # fills the buffer
    clock.pass_by(5)
    with throughput.waiting():
        clock.pass_by(3, model=2)
    with throughput.elsewhere():
        clock.pass_by(50)
    clock.pass_by(2)
    row = throughput.row(1000)
    assert row == pytest.approx(
        {
            "system/tokens_per_s": 100,
            "system/lm_share": 0.2,
            "system/data_share": 0.1,
            "system/sae_share": 0.7,
        }
    )


def test_each_row_is_of_its_own_time_and_a_prefetched_model_counts_as_far_as_it_is_waited_for(clock):
    throughput = Throughput(lambda: clock.model, clock=clock)
    with throughput.waiting():
        clock.pass_by(1)
    throughput.row(10)
    clock.pass_by(9, model=8)
    with throughput.waiting():
        clock.pass_by(1, model=1)
    row = throughput.row(30)
    assert row == pytest.approx(
        {
            "system/tokens_per_s": 2,
            "system/lm_share": 0.1,
            "system/data_share": 0,
            "system/sae_share": 0.9,
        }
    )
