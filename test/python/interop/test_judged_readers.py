"""SAELens' loaders of other libraries' files, and its own checkpoints of BatchTopK: the same numbers as ours."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pyworker.saes import load_sae

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
pytestmark = pytest.mark.skipif(
    JUDGE is None, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)

LIBRARIES = Path(__file__).parents[2] / "golden" / "libraries"
SCOPES = [
    "layer_3/width_16k/average_l0_1",
    "embedding/width_4k/average_l0_6",
    "resid_post/layer_7_width_16k_l0_small",
    "Llama3_1-8B-Base-L0R-8x",
]
CHECKPOINTS = [
    f"{architecture}-{kind}"
    for architecture in ("batchtopk", "matryoshka_batchtopk")
    for kind in ("rescaled", "plain")
]
DICTIONARIES = [
    path.parent.name for path in LIBRARIES.glob("*/ae.pt") if path.parent.name != "AutoEncoderNew"
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The folder where one run of SAELens left SAEs and what it got from them."""
    folder = tmp_path_factory.mktemp("readers")
    script = Path(__file__).with_name("judge_readers.py")
    done = subprocess.run(
        [JUDGE, script, folder, LIBRARIES], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", [*SCOPES, *CHECKPOINTS, *DICTIONARIES])
def test_we_read_it_as_saelens_does(judged, name):
    theirs = load_file(judged / "vectors" / f"{name.replace('/', '_')}.safetensors")
    sae = load_sae(LIBRARIES / name if name in DICTIONARIES else judged / name)[0]
    latents = sae.encode(theirs["x"])
    assert (latents > 0).any() and (latents == 0).any()
    torch.testing.assert_close(latents, theirs["latents"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(latents), theirs["reconstruction"], rtol=1e-5, atol=1e-5)
