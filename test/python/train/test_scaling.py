"""What is estimated from data before training: the scale of the activations and the initial b_dec."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pyworker.errors import WorkerError
from pyworker.saes import seeded_generator
from pyworker.train import ActivationScaler
from pyworker.train.b_dec_init import initial_b_dec


def test_the_norm_estimate_of_both_vocabularies(golden, make_config):
    tensors = load_file(golden / "v5" / "norm_scaling_v5.safetensors")
    v5 = json.loads((golden / "v5" / "norm_scaling_v5.json").read_text())
    v6 = json.loads((golden / "v5" / "norm_scaling_654.json").read_text())["scaling_factor"]
    for name, record in v5.items():
        batches = [tensors[f"{name}/batch.{i}"] for i in range(record["n_batches"])]
        for vocabulary, expected in (("v5", record["scaling_factor"]), ("v6", v6[name])):
            scaler = ActivationScaler()
            options = {"normalize_activations": "expected_average_only_in", "vocabulary": vocabulary}
            scaler.estimate(make_config(**options).sae, iter(batches))
            assert scaler.factor == pytest.approx(expected, rel=1e-6), (name, vocabulary)


def test_whitened_rows_have_unit_covariance_and_come_back(make_config):
    generator = seeded_generator(2)
    x = torch.randn(4096, 8, generator=generator) @ torch.randn(8, 8, generator=generator) + 3
    scaler = ActivationScaler()
    scaler.estimate(make_config(normalize_activations="covariance_whitening").sae, iter(x.split(512)))
    torch.testing.assert_close(torch.cov(scaler(x).T), torch.eye(8), rtol=0, atol=0.02)
    torch.testing.assert_close(scaler.unscale(scaler(x)), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["expected_average_only_in", "covariance_whitening"])
def test_an_estimate_from_nothing_or_of_no_finite_scale_is_refused(make_config, method):
    config = make_config(normalize_activations=method).sae
    for batches, code in (([], "DATASET_EXHAUSTED"), ([torch.full((4, 8), torch.inf)], "NOT_FINITE")):
        with pytest.raises(WorkerError) as caught:
            ActivationScaler().estimate(config, iter(batches))
        assert caught.value.code == code


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_statistics_of_narrow_activations_are_taken_in_float32(make_config, dtype):
    rows = (30_000 + 100 * torch.randn(512, 8, generator=seeded_generator(3))).to(dtype)
    config = make_config(normalize_activations="expected_average_only_in").sae
    scaler, exact = ActivationScaler(), ActivationScaler()
    scaler.estimate(config, iter(rows.split(64)))
    exact.estimate(config, iter(rows.double().split(64)))
    assert scaler.factor == pytest.approx(exact.factor, rel=1e-6)
    for method in ("mean", "geometric_median"):
        start = initial_b_dec(method, rows)
        torch.testing.assert_close(start.double(), initial_b_dec(method, rows.double()), rtol=1e-5, atol=0)


def test_activations_that_are_all_zero_have_no_scale(make_config):
    config = make_config(normalize_activations="expected_average_only_in").sae
    with pytest.raises(WorkerError, match="mean norm is 0"):
        ActivationScaler().estimate(config, iter([torch.zeros(4, 8)]))


@pytest.mark.parametrize("method", ["zeros", "mean", "geometric_median"])
def test_b_dec_starts_where_saelens_put_it(golden, method):
    tensors = load_file(golden / "v5" / "b_dec_init.safetensors")
    names = {name.split("/")[0] for name in tensors}
    assert len(names) == 6
    for name in names:
        ours = initial_b_dec(method, tensors[f"{name}/X"])
        torch.testing.assert_close(ours, tensors[f"{name}/{method}/b_dec"], rtol=0, atol=2e-4)
