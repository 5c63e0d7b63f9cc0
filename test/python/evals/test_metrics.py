"""What the recorded cases of SAELens do not hold: rows for which a quantity is not defined."""

import pytest
import torch

from pyworker.evals.metrics import ReconstructionMetrics


def metrics(*batches):
    made = ReconstructionMetrics(l2_norms=True, sparsity=True, variance=True)
    for x, x_hat in batches:
        made.add(x, torch.ones(len(x), 3), x_hat)
    return made.compute()


def test_rows_without_a_cosine_or_a_variance_leave_the_others_theirs():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, generator=generator)
    x_hat = x + 0.1 * torch.randn(6, 4, generator=generator)
    alone, zero = (x[:1] + 1, x_hat[:1]), torch.zeros(1, 4)
    plain = metrics((x, x_hat))
    # One kept token is its own mean; a zero row, or one reconstructed as zero, points nowhere.
    mixed = metrics((x, x_hat), alone)
    name = "reconstruction_quality/explained_variance_legacy"
    assert mixed[name] == pytest.approx(plain[name])
    with_zero = metrics((torch.cat([x, zero, x[:1]]), torch.cat([x_hat, x_hat[:1], zero])))
    name = "reconstruction_quality/cossim"
    assert with_zero[name] == pytest.approx(plain[name])
    assert with_zero["sparsity/l0"] == 3
    name = "shrinkage/relative_reconstruction_bias"
    assert metrics((x, x_hat), (x[:0], x_hat[:0]), (x, 0 * x_hat))[name] == pytest.approx(plain[name])
