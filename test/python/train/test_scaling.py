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
            scaler.estimate(make_config(**options).sae, iter(batches), len(batches))
            assert scaler.factor == pytest.approx(expected, rel=1e-6), (name, vocabulary)


def test_whitened_rows_have_unit_covariance_and_come_back(make_config):
    generator = seeded_generator(2)
    x = torch.randn(4096, 8, generator=generator) @ torch.randn(8, 8, generator=generator) + 3
    scaler = ActivationScaler()
    scaler.estimate(make_config(normalize_activations="covariance_whitening").sae, iter(x.split(512)), 8)
    torch.testing.assert_close(torch.cov(scaler(x).T), torch.eye(8), rtol=0, atol=0.02)
    torch.testing.assert_close(scaler.unscale(scaler(x)), x, rtol=1e-3, atol=1e-3)


def test_only_the_asked_number_of_batches_is_taken(make_config):
    batches = iter([torch.ones(4, 8)] * 5)
    config = make_config(normalize_activations="expected_average_only_in").sae
    ActivationScaler().estimate(config, batches, 3)
    assert len(list(batches)) == 2
    with pytest.raises(WorkerError) as caught:
        ActivationScaler().estimate(config, iter([]), 3)
    assert caught.value.code == "DATASET_EXHAUSTED"


@pytest.mark.parametrize("method", ["zeros", "mean", "geometric_median"])
def test_b_dec_starts_where_saelens_put_it(golden, method):
    tensors = load_file(golden / "v5" / "b_dec_init.safetensors")
    names = {name.split("/")[0] for name in tensors}
    assert len(names) == 6
    for name in names:
        ours = initial_b_dec(method, tensors[f"{name}/X"])
        torch.testing.assert_close(ours, tensors[f"{name}/{method}/b_dec"], rtol=0, atol=2e-4)
