"""What ``kernels: measured`` rests on: both ways to work, timed at the SAE's own shape."""

import pytest
import torch
from complete_config import config_for

from pyworker.saes import create_sae, seeded_generator
from pyworker.train.kernel_timing import time_kernels

ALL = ["topk", "batchtopk", "matryoshka_batchtopk", "standard", "jumprelu", "gated"]
ADAPTIVE = ALL[3:]


def make(architecture, d_in=64, d_sae=2048, **options):
    config = config_for(architecture, {}, d_in=d_in, d_sae=d_sae, kernels="measured", **options)
    return create_sae(config.sae, seeded_generator(0))


def timed(sae):
    return time_kernels(sae, {name: c.value for name, c in sae.coefficients().items()}, autocast=False)


@pytest.mark.parametrize("architecture", ALL)
def test_timing_leaves_the_sae_as_it_was(architecture):
    sae = make(architecture)
    before = {name: value.clone() for name, value in sae.state_dict().items()}
    drawn = sae.noise_generator.get_state()
    timing = timed(sae)
    assert timing["dense_s"] > 0 and timing["sparse_s"] > 0
    assert all(torch.equal(value, before[name]) for name, value in sae.state_dict().items())
    assert torch.equal(sae.noise_generator.get_state(), drawn)
    assert all(parameter.grad is None for parameter in sae.parameters())
    assert sae.kernels() == "dense"  # until it is told what to choose


def test_few_latents_of_many_are_faster_by_index():
    sae = make("topk", k=4)
    sae.choose_kernels(timed(sae))
    assert sae.kernels() == "sparse"


@pytest.mark.parametrize("architecture", ADAPTIVE)
def test_few_active_latents_pay_and_all_of_them_do_not(architecture):
    assert 0.01 < timed(make(architecture, d_in=256))["pays_up_to"] < 0.95


def test_the_faster_one_is_chosen():
    sae = make("topk", k=4)
    for timing, chosen in (
        ({"dense_s": 1.0, "sparse_s": 2.0}, "dense"),
        ({"dense_s": 2.0, "sparse_s": 1.0}, "sparse"),
    ):
        sae.choose_kernels(timing)
        assert sae.kernels() == chosen


def test_the_density_up_to_which_it_pays_moves_both_bounds():
    sae = make("standard")
    sae.choose_kernels({"dense_s": 1.0, "sparse_s": 1.0, "pays_up_to": 0.5})
    seen = []
    for density in [0.39] * 10 + [0.61] * 10:
        sae._adapt(density)
        seen.append(sae.kernels())
    assert seen == ["dense"] * 9 + ["sparse"] * 10 + ["dense"]
