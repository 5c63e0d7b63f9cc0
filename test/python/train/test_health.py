"""A run that learns nothing says so, once, and goes on."""

import pytest

from pyworker.train.health import Health


def told(rows, d_sae=64):
    health = Health(d_sae)
    return [warning for step, row in enumerate(rows) for warning in health.look(step, row)]


def row(loss=1.0, l0=4.0, dead=0.0):
    return {"losses/overall_loss": loss, "metrics/l0": l0, "sparsity/dead_features": dead}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"l0": 0.0}, "no latent is active"),
        ({"l0": 64.0}, "all 64 latents are active in every row"),
        ({"dead": 64.0}, "all 64 latents are dead"),
    ],
)
def test_latents_that_are_all_dead_or_all_active_or_none_are_a_warning_with_advice(changes, words):
    warnings = told([row()] * 5 + [row(**changes)] * 20)
    assert len(warnings) == 1
    assert (
        words in warnings[0] and warnings[0].startswith("training step 7: ") and "coefficient" in warnings[0]
    )
    assert len(told(([row(**changes)] * 5 + [row()]) * 9)) == 1, "it comes and goes"
    assert len(told(([row(**changes)] * 5 + [row()] * 1000) * 2)) == 2, "it had ended"
    assert told([row(**changes), row(**changes), row()] * 5) == [], "a batch or two may be chance"


def test_a_loss_that_explodes_is_a_warning_with_what_it_was():
    falling = [row(loss=100.0 / (step + 1)) for step in range(60)]
    assert told(falling) == []
    (warning,) = told([*falling, row(loss=5_000.0), row(loss=4_000.0), row(loss=2.0)])
    assert warning.startswith("training step 60: the loss is 5000, and was ")
    assert told([row(loss=1.0), row(loss=1e6)]) == [], "the first steps are no measure"
    assert len(told([*falling, row(loss=5_000.0), row(loss=2.0), row(loss=5_000.0)])) == 1


def test_rows_without_a_loss_are_no_step():
    assert told([{"model_performance_preservation/ce_loss_score": 0.9}] * 20) == []
