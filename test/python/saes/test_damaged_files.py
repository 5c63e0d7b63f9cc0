"""Every file that the worker reads of an SAE, damaged in 500 ways each: read or refused with a code, and no memory
taken for what a file claims. The loader runs in a child with little memory: what kills it cannot be caught in it."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mutations import mutations
from safetensors.torch import load_file, save_file

from pyworker.errors import WorkerError
from pyworker.saes import create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

LIBRARIES = Path(__file__).parents[2] / "golden" / "libraries"
ROUNDS = 500
MORE_MEMORY_BYTES = 512 << 20
"""Over what the process holds before the first file."""


@pytest.fixture
def folder(make_config, tmp_path) -> Path:
    """A checkpoint of training as SAELens leaves one: every file that is read is there."""
    sae = create_sae(make_config("jumprelu").sae, seeded_generator(0))
    metadata = {"model_name": "m", "hook_name": "h", "model_from_pretrained_kwargs": {}}
    save_inference(to_inference(sae, ActivationScaler()), tmp_path, metadata, torch.zeros(sae.cfg.d_sae))
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.5}))
    whitening = {name: torch.eye(sae.cfg.d_in) for name in ("matrix", "inverse_matrix")}
    save_file({"mean": torch.zeros(sae.cfg.d_in), **whitening}, tmp_path / "activation_whitening.safetensors")
    return tmp_path


@pytest.mark.parametrize("vocabulary", ["v6", "v5"])
@pytest.mark.parametrize(
    "name",
    [
        "cfg.json",
        "sae_weights.safetensors",
        "sparsity.safetensors",
        "activation_scaler.json",
        "activation_whitening.safetensors",
    ],
)
def test_damaged_in_500_ways_it_is_read_or_refused_with_a_code(folder, name, vocabulary):
    if vocabulary == "v5":
        cfg = json.loads((folder / "cfg.json").read_text())
        flat = {**cfg.pop("metadata"), **cfg, "activation_fn_str": "relu", "sae_lens_version": "5.10.7"}
        (folder / "cfg.json").write_text(json.dumps(flat))
    assert_read_or_refused(folder, name)


@pytest.mark.parametrize("name", ["cfg.json", "sae_weights.safetensors"])
def test_so_is_a_checkpoint_with_a_budget_for_the_batch(folder, name):
    (folder / "activation_scaler.json").unlink()
    cfg = json.loads((folder / "cfg.json").read_text())
    words = {"architecture": "batchtopk", "k": 4, "rescale_acts_by_decoder_norm": True}
    (folder / "cfg.json").write_text(json.dumps({**cfg, **words}))
    weights = load_file(folder / "sae_weights.safetensors")
    weights["topk_threshold"] = weights.pop("threshold").mean()
    save_file(weights, folder / "sae_weights.safetensors")
    assert_read_or_refused(folder, name)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("sparsify/layers.2", "cfg.json"),
        ("sparsify/layers.2", "sae.safetensors"),
        ("AutoEncoderTopK", "config.json"),
        ("BatchTopKSAE", "config.json"),
    ],
)
def test_so_are_files_of_other_libraries(tmp_path, library, name):
    assert_read_or_refused(shutil.copytree(LIBRARIES / library, tmp_path / "copy"), name)


def assert_read_or_refused(folder: Path, name: str) -> None:
    paths = [str(Path(__file__).parents[3]), str(Path(__file__).parents[1])]
    run = subprocess.run(
        [sys.executable, __file__, str(folder), name],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    outcomes = json.loads(run.stdout)
    assert sum(outcomes.values()) == ROUNDS
    assert outcomes.get("SAE_INVALID", 0) > ROUNDS / 10 and outcomes.keys() <= {"read", "SAE_INVALID"}


def read_damaged(folder: Path, name: str) -> dict[str, int]:
    """How often each outcome came; ends with whatever the loader raises that is no WorkerError."""
    x = torch.randn(4, load_sae(folder)[0].cfg.d_in)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MORE_MEMORY_BYTES,) * 2)
    whole, outcomes = (folder / name).read_bytes(), {}
    for damaged in mutations(whole, ROUNDS, seed=6):
        (folder / name).write_bytes(damaged)
        try:
            load_sae(folder)[0](x)
            outcome = "read"
        except WorkerError as error:
            outcome = error.code
        except BaseException:
            print(f"{name} as {damaged[:2000]!r}", file=sys.stderr)
            raise
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


if __name__ == "__main__":
    print(json.dumps(read_damaged(Path(sys.argv[1]), sys.argv[2])))
