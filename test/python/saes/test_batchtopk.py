"""BatchTopK and Matryoshka: selection over the batch, the threshold that follows it, and the SAE that is deployed. The
golden cases (test/golden) judge the steps."""

import pytest
import torch

from pyworker.errors import WorkerError
from pyworker.kernels import batch_top_k
from pyworker.saes import StepInput, create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

BOTH = ["batchtopk", "matryoshka_batchtopk"]


def trained(make_config, architecture, steps=30, **options):
    """An SAE that saw some batches, and rows it did not see."""
    sae = create_sae(make_config(architecture, **options).sae, seeded_generator(2))
    optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3)
    generator = seeded_generator(3)
    mix = torch.randn(32, 8, generator=generator)
    for _ in range(steps):
        x = torch.relu(torch.randn(64, 32, generator=generator) - 1.2) @ mix
        output = sae.training_forward(StepInput(x, torch.zeros(32, dtype=torch.bool), {}))
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return sae, torch.relu(torch.randn(256, 32, generator=generator) - 1.2) @ mix


@pytest.mark.parametrize("k", [1.0, 2.5, 7.0])
def test_the_largest_of_the_batch_are_kept_however_they_lie_in_rows(k):
    z = torch.randn(40, 16, generator=seeded_generator(1))
    kept = batch_top_k(z, k)
    n = int(k * 40)
    smallest = torch.relu(z).flatten().sort(descending=True).values[n - 1]
    assert (kept > 0).sum() == n
    assert torch.equal(kept > 0, z >= smallest) and torch.equal(kept[kept > 0], z[kept > 0])


@pytest.mark.parametrize("architecture", BOTH)
@pytest.mark.parametrize("rescales", [True, False])
@pytest.mark.parametrize("factor", [None, 0.3])
def test_what_is_saved_is_what_evaluations_see(make_config, tmp_path, architecture, rescales, factor):
    options = {"rescale_acts_by_decoder_norm": rescales, "topk_threshold_lr": 0.2}
    sae, x = trained(make_config, architecture, **options)
    scaler = ActivationScaler(factor)
    x = x / (factor or 1)
    save_inference(to_inference(sae, scaler), tmp_path, {})
    loaded, cfg, _ = load_sae(tmp_path)
    assert cfg["architecture"] == "jumprelu" and loaded.state_dict()["threshold"].min() > 0
    sae.eval()
    torch.testing.assert_close(loaded(x), scaler.unscale(sae(scaler(x))), rtol=1e-5, atol=1e-5)
    l0 = (loaded.encode(x) > 0).sum(dim=-1).float()
    assert 2 < l0.mean() < 6 and l0.std() > 0.3, "a threshold lets a different number through in each row"
    sae.train()
    batch_l0 = (sae.encode(scaler(x)) > 0).sum().item()
    assert batch_l0 == int(3.5 * len(x))


@pytest.mark.parametrize("architecture", BOTH)
def test_the_threshold_follows_the_smallest_latent_of_each_batch(make_config, architecture):
    sae, x = trained(make_config, architecture, steps=0, topk_threshold_lr=0.25)
    expected = 0.0
    for part in x.split(64):
        output = sae.training_forward(StepInput(part, torch.zeros(32, dtype=torch.bool), {}))
        latents = output.code.dense()
        expected = 0.75 * expected + 0.25 * latents[latents > 0].min().item()
        assert output.metrics["topk_threshold"].item() == pytest.approx(expected, rel=1e-6)
    before = sae.topk_threshold.clone()
    with torch.no_grad():
        sae.b_enc.fill_(-1e3)
    sae.training_forward(StepInput(x[:8], torch.zeros(32, dtype=torch.bool), {}))
    assert torch.equal(sae.topk_threshold, before), "a batch without latents tells nothing"


def test_matryoshka_levels_reconstruct_from_their_first_latents_alone(make_config):
    sae, x = trained(make_config, "matryoshka_batchtopk")
    output = sae.training_forward(StepInput(x, torch.zeros(32, dtype=torch.bool), {}))
    latents = output.code.dense() / sae.W_dec.norm(dim=1)
    for width in (4, 12):
        partial = latents[:, :width] @ sae.W_dec[:width] + sae.b_dec
        error = (partial - x).square().sum(dim=-1).mean()
        torch.testing.assert_close(output.losses[f"inner_mse_loss_{width}"], error)
    assert sorted(output.losses) == [
        "auxiliary_reconstruction_loss",
        "inner_mse_loss_12",
        "inner_mse_loss_4",
        "mse_loss",
    ]


@pytest.mark.parametrize("architecture", BOTH)
def test_training_goes_on_from_what_was_saved(make_config, tmp_path, architecture):
    sae, x = trained(make_config, architecture)
    save_inference(to_inference(sae, ActivationScaler()), tmp_path, {})
    again = create_sae(make_config(architecture).sae, seeded_generator(9))
    again.adopt(load_sae(tmp_path)[0])
    torch.testing.assert_close(again.eval()(x), sae.eval()(x), rtol=1e-5, atol=1e-5)


def test_a_jumprelu_sae_with_thresholds_of_its_own_is_no_start(make_config):
    sae = create_sae(make_config("batchtopk").sae, seeded_generator(9))
    other = to_inference(create_sae(make_config("jumprelu").sae, seeded_generator(1)), ActivationScaler())
    with torch.no_grad():
        other.threshold.uniform_(0.1, 0.2, generator=seeded_generator(4))
    with pytest.raises(WorkerError, match="trains one for all latents"):
        sae.adopt(other)
