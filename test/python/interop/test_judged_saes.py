"""SAELens itself reads what we save, and we read what it saves: the same numbers."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.saes import SAE, create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
pytestmark = pytest.mark.skipif(
    JUDGE is None, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)

ARCHITECTURES = ["standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka_batchtopk"]
OURS = {
    **{architecture: (architecture, {}) for architecture in ARCHITECTURES},
    "jumprelu-v5": ("jumprelu", {"vocabulary": "v5"}),
    "standard-of-topk": ("standard", {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}}),
    "gated-normed": ("gated", {"normalize_activations": "layer_norm"}),
    "topk-plain": ("topk", {"rescale_acts_by_decoder_norm": False, "apply_b_dec_to_input": False}),
}
REFUSED = {"tanh-relu": ("standard", {"activation_fn": "tanh-relu"})}


def our_sae(config) -> SAE:
    sae = create_sae(config.sae, seeded_generator(0))
    generator = seeded_generator(1)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.abs() if "threshold" in name else noise)
        if config.sae.__struct_config__.tag.endswith("batchtopk"):
            sae.topk_threshold.fill_(0.07)  # type: ignore[attr-defined]
    return to_inference(sae, ActivationScaler(0.4))


@pytest.fixture(scope="module")
def judged(make_config, tmp_path_factory):
    """The rows, our SAEs by name, and the folder where one run of SAELens left what it got from them and its own."""
    folder = tmp_path_factory.mktemp("judged")
    x = torch.randn(64, 8, generator=seeded_generator(5)) * 2 + 0.5
    save_file({"x": x}, folder / "rows.safetensors")
    saes = {}
    for name, (architecture, options) in {**OURS, **REFUSED}.items():
        saes[name] = our_sae(make_config(architecture, **options))
        save_inference(saes[name], folder / "ours" / name, {"model_name": "tiny"}, torch.zeros(32))
    (folder / "theirs").mkdir()
    script = Path(__file__).with_name("judge.py")
    command = [JUDGE, script, folder / "rows.safetensors", folder / "ours", folder / "theirs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return x, saes, folder


def assert_same(sae: SAE, x: torch.Tensor, theirs: dict[str, torch.Tensor]) -> None:
    latents = sae.encode(x)
    torch.testing.assert_close(latents, theirs["latents"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(latents), theirs["reconstruction"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_saelens_loads_ours(judged, name):
    x, saes, folder = judged
    assert_same(saes[name], x, load_file(folder / "ours" / f"{name}.safetensors"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_we_load_theirs(judged, architecture):
    x, _, folder = judged
    sae = load_sae(folder / "theirs" / architecture)[0]
    assert_same(sae, x, load_file(folder / "theirs" / f"{architecture}.safetensors"))


@pytest.mark.parametrize("name", REFUSED)
def test_saelens_refuses_an_activation_it_would_take_for_relu(judged, name):
    _, _, folder = judged
    assert f"standard_{name}" in (folder / "ours" / f"{name}.refused").read_text()


def test_the_page_of_saelens_field_by_field_is_made_from_its_fields(judged):
    _, _, folder = judged
    recorded = json.loads(Path("src/config/generate/saelens-fields.json").read_text())
    assert recorded["6.54.12"] == json.loads((folder / "theirs" / "fields.json").read_text())
