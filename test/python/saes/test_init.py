"""Initial weights are SAELens' own, draw for draw."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pyworker.saes import create_sae, seeded_generator


def test_every_recorded_initialisation_is_reproduced(golden, make_config):
    recorded = load_file(golden / "v5" / "init.safetensors")
    cases = json.loads((golden / "v5" / "init.json").read_text())
    constructed = {name: case for name, case in cases.items() if "params" in case}
    assert len(constructed) > 20
    for name, case in constructed.items():
        options = {k: v for k, v in case["cfg"].items() if k != "architecture"}
        sae = {"vocabulary": "v5", "decoder_init_norm": None, "jumprelu_init_threshold": 0.001, **options}
        architecture = case["cfg"]["architecture"]
        if architecture == "topk":
            sae["rescale_acts_by_decoder_norm"] = False
        keep = {k: v for k, v in sae.items() if k != "jumprelu_init_threshold" or architecture == "jumprelu"}
        keep = {k: v for k, v in keep.items() if k not in ("activation_fn", "activation_fn_kwargs")}
        generator = seeded_generator(0)
        state = create_sae(make_config(architecture, **keep).sae, generator).state_dict()
        for parameter in case["params"]:
            theirs = recorded[f"{name}/{parameter}"]
            torch.testing.assert_close(
                state[parameter], theirs, rtol=0, atol=1e-5, msg=f"{name}: {parameter} differs"
            )
        after = torch.rand(1, generator=generator).item()
        assert after == pytest.approx(case["next_torch_rand_after_construction"]), name


def test_version_6_ties_the_encoder_and_sets_the_decoder_norm(make_config):
    sae = create_sae(make_config(decoder_init_norm=0.3).sae, seeded_generator(1))
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.full((32,), 0.3))
    assert torch.equal(sae.W_enc, sae.W_dec.T)


def test_the_seed_decides_the_weights(make_config):
    first, again, other = (create_sae(make_config().sae, seeded_generator(s)).W_dec for s in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
