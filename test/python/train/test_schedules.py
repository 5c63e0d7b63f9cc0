"""Learning rates and coefficients against those SAELens used."""

import json

import pytest

from pyworker.errors import WorkerError
from pyworker.saes import Coefficient
from pyworker.train.schedules import LearningRateSchedule, coefficient_at


def schedule(kwargs):
    return LearningRateSchedule(
        kwargs["scheduler_name"],
        kwargs["lr"],
        kwargs["lr_end"],
        kwargs["training_steps"],
        warm_up_steps=kwargs["warm_up_steps"],
        decay_steps=kwargs["decay_steps"],
        n_restart_cycles=kwargs["num_cycles"],
    )


def test_every_recorded_schedule_is_reproduced_or_refused(golden):
    settings = json.loads((golden / "v5" / "lr_schedules_v5.json").read_text())
    for setting in settings:
        kwargs = setting["kwargs"]
        steps = kwargs["training_steps"]
        overlap = kwargs["warm_up_steps"] + kwargs["decay_steps"] > steps
        if "error" in setting or overlap:
            with pytest.raises(WorkerError) as caught:
                schedule(kwargs)
            assert caught.value.code == "CONFIG_INVALID"
            continue
        ours = [schedule(kwargs).at(step) for step in range(steps)]
        assert ours == pytest.approx(setting["lr"][:steps], rel=1e-9, abs=1e-18), kwargs


@pytest.mark.parametrize(
    ("name", "warm_up", "decay", "cycles", "expected"),
    [
        ("constant", 4, 4, 1, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        (
            "cosineannealing",
            3,
            3,
            1,
            [0.3333, 0.6667, 1, 1, 0.93971, 0.775, 0.55, 0.325, 0.16029, 0.1, 0.06667, 0.03333],
        ),
        (
            "cosineannealingwarmrestarts",
            2,
            2,
            2,
            [0.5, 1, 1, 0.8682, 0.55, 0.2318, 1, 0.8682, 0.55, 0.2318, 0.1, 0.05],
        ),
    ],
)
def test_the_three_shapes(name, warm_up, decay, cycles, expected):
    made = LearningRateSchedule(
        name, 1.0, 0.1, 12, warm_up_steps=warm_up, decay_steps=decay, n_restart_cycles=cycles
    )
    assert [made.at(step) for step in range(12)] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["constant", "cosineannealing", "cosineannealingwarmrestarts"])
def test_the_step_of_a_last_incomplete_batch_does_not_raise_the_rate(name):
    made = LearningRateSchedule(name, 1.0, 0.1, 12, warm_up_steps=2, n_restart_cycles=2)
    assert made.at(12) <= made.at(11)


def test_coefficients_grow_from_zero(golden):
    recorded = json.loads((golden / "v5" / "l1_warmup_v5.json").read_text())
    whole = [
        c for c in recorded if isinstance(c.get("l1_warm_up_steps"), int) and "coefficient_used_at_step" in c
    ]
    assert whole
    for case in whole:
        coefficient = Coefficient(case["final"], case["l1_warm_up_steps"])
        expected = case["coefficient_used_at_step"]
        assert [coefficient_at(coefficient, t) for t in range(len(expected))] == pytest.approx(expected)
