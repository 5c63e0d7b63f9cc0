"""What the recorded cases of SAELens do not hold: rows for which a quantity is not defined, and by hand what a version
of SAELens has or had wrong (reference §4.6)."""

import math

import pytest
import torch

from pyworker.evals.metrics import LatentDensity, ModelMetrics, ReconstructionMetrics
from pyworker.evals.run import evaluate_rows


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


def test_explained_variance_is_beside_the_mean_of_all_rows_not_beside_zero_or_the_mean_of_a_batch():
    """Beside zero until SAELens 6.45.1; the legacy metric takes the mean of each batch."""
    one, other = torch.tensor([[1.0, 10.0], [3.0, 10.0]]), torch.tensor([[9.0, 10.0], [11.0, 10.0]])
    # Of all rows the mean is (6, 10), the mean square distance from it 17; of a batch from its own mean it is 1.
    as_the_mean = torch.tensor([[6.0, 10.0]]).expand(2, 2)
    found = metrics((one, as_the_mean), (other, as_the_mean))
    assert found["reconstruction_quality/explained_variance"] == pytest.approx(0, abs=1e-12)
    found = metrics((one, one + 0.5), (other, other + 0.5))
    assert found["reconstruction_quality/explained_variance"] == pytest.approx(1 - 0.5 / 17)
    assert found["reconstruction_quality/explained_variance_legacy"] == pytest.approx(0.5)


def test_explained_variance_beside_a_large_mean_is_that_of_exact_sums():
    """SAELens sums a batch in float32, and is off by 0.04 here."""
    x = 1000 + torch.randn(4096, 8, generator=torch.Generator().manual_seed(0))
    x_hat = x + 0.3
    rows, guessed = x.double(), x_hat.double()
    exact = 1 - (rows - guessed).square().sum() / (rows - rows.mean(0)).square().sum()
    found = metrics((x[:1000], x_hat[:1000]), (x[1000:], x_hat[1000:]))
    assert found["reconstruction_quality/explained_variance"] == pytest.approx(float(exact), abs=1e-7)


def test_mse_is_summed_over_dimensions_and_a_mean_over_all_tokens():
    """It was divided by the number of tokens once more until SAELens 6.45.2; batches of unlike size weigh by tokens."""
    zeros = torch.zeros(3, 2)
    found = metrics((zeros[:1], torch.tensor([[3.0, 4.0]])), (zeros, torch.tensor([[1.0, 0.0]]).expand(3, 2)))
    assert found["reconstruction_quality/mse"] == (25 + 3) / 4


def test_a_single_row_has_no_variance_and_an_sae_that_gives_it_back_explains_all_of_it():
    """SAELens divides rounding by rounding."""
    row, name = torch.tensor([[0.1, 0.2]]), "reconstruction_quality/explained_variance"
    assert metrics((row, row))[name] == 1
    assert metrics((row, row + 1))[name] == 0
    assert math.isnan(metrics((row[:0], row[:0]))[name])


def test_norms_and_errors_are_those_of_activations_as_they_are_whatever_the_sae_saw():
    """Until 6.6.1 SAELens compared what was scaled with what was not."""

    class Halves:
        def encode(self, x):
            return x.relu()

        def decode(self, latents):
            return latents / 2

    class Doubled:
        def __call__(self, x):
            return 2 * x

        def unscale(self, x):
            return x / 2

    found = evaluate_rows(Halves(), [torch.tensor([[3.0, 4.0]])], Doubled())
    assert (found["shrinkage/l2_norm_in"], found["shrinkage/l2_norm_out"]) == (5, 2.5)
    assert (found["reconstruction_quality/mse"], found["sparsity/l1"]) == (6.25, 14)


def test_a_token_that_is_left_out_scores_no_next_token_and_the_last_one_has_none():
    tokens = torch.tensor([[0, 1, 1]])
    kept = torch.tensor([[True, False, True]])
    wrong_by = torch.tensor([[[0.0, 1.0], [9.0, 0.0], [9.0, 0.0]]])  # only the first is looked at
    model = ModelMetrics(ce_loss=True, kl=True)
    model.begin_batch()
    even = torch.zeros(1, 3, 2)
    model.add(tokens, kept, {"without_sae": even, "with_sae": wrong_by, "with_ablation": even})
    found = model.compute()
    assert found["model_performance_preservation/ce_loss_without_sae"] == pytest.approx(math.log(2))
    assert found["model_performance_preservation/ce_loss_with_sae"] == pytest.approx(
        math.log(1 + math.exp(-1))
    )
    # Of the divergence every kept token counts, the last one too.
    diverges = [math.log(math.exp(a) + 1) - a / 2 - math.log(2) for a in (1.0, 9.0)]
    assert found["model_behavior_preservation/kl_div_with_sae"] == pytest.approx(sum(diverges) / 2, rel=1e-5)


def test_density_is_of_the_tokens_that_count_and_consistency_of_the_prompts_in_which_a_latent_fires():
    latents = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]], [[0.0, 0.0], [0.0, 0.0], [3.0, 0.0]]])
    kept = torch.tensor([[True, True, False], [True, True, True]])
    density = LatentDensity()
    density.add(latents, kept)
    found = density.compute()
    assert found["feature_density"].tolist() == pytest.approx([3 / 5, 0])
    assert found["consistent_activation_heuristic"][0] == 1.5
    assert math.isnan(found["consistent_activation_heuristic"][1])
