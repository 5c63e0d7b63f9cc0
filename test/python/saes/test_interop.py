"""SAELens itself reads what we save, and we read what it saves: the same numbers."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.saes import create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SCRIPT = Path(__file__).parents[2] / "interop" / "judge.py"
pytestmark = pytest.mark.skipif(
    JUDGE is None, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)

ARCHITECTURES = ["standard", "gated", "jumprelu", "topk"]


def judge(*arguments):
    return subprocess.run(
        [JUDGE, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False
    )


def rows_file(folder):
    x = torch.randn(64, 8, generator=seeded_generator(5)) * 2 + 0.5
    save_file({"x": x}, folder / "rows.safetensors")
    return x


def our_sae(make_config, architecture, **options):
    sae = create_sae(make_config(architecture, **options).sae, seeded_generator(0))
    generator = seeded_generator(1)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.abs() if "threshold" in name else noise)
    return sae


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        *((architecture, {}) for architecture in ARCHITECTURES),
        ("jumprelu", {"vocabulary": "v5"}),
        ("standard", {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}}),
        ("gated", {"normalize_activations": "layer_norm"}),
        ("topk", {"rescale_acts_by_decoder_norm": False, "apply_b_dec_to_input": False}),
    ],
)
def test_saelens_loads_ours(make_config, tmp_path, architecture, options):
    x = rows_file(tmp_path)
    sae = to_inference(our_sae(make_config, architecture, **options), ActivationScaler(0.4))
    save_inference(sae, tmp_path / "sae", {"model_name": "tiny"}, torch.zeros(32))
    done = judge("load", tmp_path / "sae", tmp_path / "rows.safetensors", tmp_path / "out.safetensors")
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = load_file(tmp_path / "out.safetensors")
    latents = sae.encode(x)
    torch.testing.assert_close(theirs["latents"], latents, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs["reconstruction"], sae.decode(latents), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_we_load_theirs(tmp_path, architecture):
    x = rows_file(tmp_path)
    out = tmp_path / "out.safetensors"
    done = judge("save", architecture, tmp_path / "sae", tmp_path / "rows.safetensors", out)
    assert done.returncode == 0, done.stderr[-2000:]
    sae, theirs = load_sae(tmp_path / "sae")[0], load_file(out)
    latents = sae.encode(x)
    torch.testing.assert_close(latents, theirs["latents"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(latents), theirs["reconstruction"], rtol=1e-5, atol=1e-5)


def test_saelens_refuses_an_activation_it_would_take_for_relu(make_config, tmp_path):
    rows_file(tmp_path)
    sae = to_inference(our_sae(make_config, "standard", activation_fn="tanh-relu"), ActivationScaler())
    save_inference(sae, tmp_path / "sae", {})
    done = judge("load", tmp_path / "sae", tmp_path / "rows.safetensors", tmp_path / "out.safetensors")
    assert done.returncode != 0
    assert "standard_tanh-relu" in done.stderr
