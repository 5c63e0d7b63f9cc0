"""What leaves for the hub is what SAELens loads."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pyworker.errors import WorkerError
from pyworker.runners.saes import export
from pyworker.saes import create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler


def exported(source, folder):
    export({"handle": None, "path": str(source), "folder": str(folder)}, None)
    return load_sae(folder)


def test_an_unfolded_checkpoint_leaves_folded_with_its_metadata(make_config, tmp_path):
    sae = to_inference(create_sae(make_config("standard").sae, seeded_generator(0)), ActivationScaler(None))
    metadata = {"model_name": "tiny", "sae_lens_training_version": "6.18.0"}
    save_inference(sae, tmp_path / "a", metadata, torch.zeros(32))
    (tmp_path / "a" / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    there, cfg, log_sparsity_F = exported(tmp_path / "a", tmp_path / "b")
    torch.testing.assert_close(there.W_enc, sae.W_enc * 0.25)
    assert log_sparsity_F is not None
    assert cfg["metadata"]["model_name"] == "tiny"
    assert cfg["metadata"]["sae_lens_training_version"] == "6.18.0"
    assert cfg["metadata"]["sae_lens_version"].startswith("6.5")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
        "sparsity.safetensors",
    ]


def test_a_batch_topk_checkpoint_leaves_as_a_jumprelu_sae(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    cfg = {"architecture": "batchtopk", "d_in": 4, "d_sae": 8, "dtype": "float32", "k": 2.0}
    cfg["metadata"] = {"sae_lens_version": "6.54.12"}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    state = {"W_enc": torch.ones(4, 8), "W_dec": torch.ones(8, 4), "b_enc": torch.zeros(8)}
    state |= {"b_dec": torch.zeros(4), "topk_threshold": torch.tensor(0.5, dtype=torch.float64)}
    save_file(state, folder / "sae_weights.safetensors")
    sae, written, _ = exported(folder, tmp_path / "b")
    assert written["architecture"] == "jumprelu"
    assert torch.equal(sae.threshold, torch.full((8,), 0.5))


def test_what_saelens_cannot_load_is_refused_with_the_reason(make_config, tmp_path):
    config = make_config("standard", activation_fn="tanh-relu")
    sae = to_inference(create_sae(config.sae, seeded_generator(0)), ActivationScaler(None))
    save_inference(sae, tmp_path / "a", {})
    with pytest.raises(WorkerError, match="SAELens cannot load its architecture, 'standard_tanh-relu'"):
        exported(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()
