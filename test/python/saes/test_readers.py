"""Folders of other libraries load as those libraries use them (vectors by test/golden/libraries.py); what could run
code, and what is no SAE, is refused."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.errors import WorkerError
from pyworker.saes import load_sae, seeded_generator

LIBRARIES = Path(__file__).parents[2] / "golden" / "libraries"
DICTIONARIES = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "GatedAutoEncoder": "gated",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
}


class Harm:
    """What a hostile pickle would hold."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code ran')",))


def assert_as_recorded(name: str, folder: Path) -> None:
    recorded = load_file(LIBRARIES / f"{name}.safetensors")
    sae = load_sae(folder)[0]
    latents = sae.encode(recorded["x"])
    assert (latents > 0).any() and (latents == 0).any()
    torch.testing.assert_close(latents, recorded["latents"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(latents), recorded["reconstruction"], rtol=1e-5, atol=1e-5)


def gemma_scope(folder: Path, **changes: np.ndarray) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"W_enc": (6, 12), "W_dec": (12, 6), "b_enc": (12,), "b_dec": (6,), "threshold": (12,)}
    arrays = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{**arrays, **changes})
    return arrays


def refused(folder: Path, words: str, code: str = "SAE_INVALID") -> None:
    with pytest.raises(WorkerError, match=words) as caught:
        load_sae(folder)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["sparsify", "sparsify_plain"])
def test_a_sparsify_folder_gives_what_sparsify_gives(name):
    folder = LIBRARIES / name / "layers.2"
    assert_as_recorded(name, folder)
    _, cfg, _ = load_sae(folder)
    assert (cfg["architecture"], cfg["k"], cfg["d_in"], cfg["d_sae"]) == ("topk", 3, 6, 12)
    assert cfg["metadata"] == {"hook_name": "blocks.2.hook_resid_post"}


@pytest.mark.parametrize("name", DICTIONARIES)
def test_a_dictionary_gives_what_dictionary_learning_gives(name):
    assert_as_recorded(name, LIBRARIES / name)
    _, cfg, _ = load_sae(LIBRARIES / name)
    assert cfg["architecture"] == DICTIONARIES[name]
    assert cfg["metadata"]["model_name"] == "EleutherAI/pythia-70m"
    assert cfg["metadata"]["hook_name"] == "blocks.3.hook_resid_post"


def test_a_dictionary_may_lie_in_safetensors(tmp_path):
    source = LIBRARIES / "GatedAutoEncoder"
    shutil.copy(source / "config.json", tmp_path)
    tensors = torch.load(source / "ae.pt", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "ae.safetensors")
    (tmp_path / "ae.pt").write_bytes(b"never opened")
    assert_as_recorded("GatedAutoEncoder", tmp_path)


def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(tmp_path):
    shutil.copy(LIBRARIES / "AutoEncoder" / "config.json", tmp_path)
    torch.save({"encoder.weight": Harm()}, tmp_path / "ae.pt")
    refused(tmp_path, "not a file of tensors alone", "PICKLE_REFUSED")
    (tmp_path / "ae.pt").write_bytes(pickle.dumps(Harm(), protocol=2))
    refused(tmp_path, "not a file of tensors alone", "PICKLE_REFUSED")
    torch.save([torch.zeros(2)], tmp_path / "ae.pt")
    refused(tmp_path, "expected tensors by name", "PICKLE_REFUSED")


def test_a_class_or_a_k_that_does_not_fit_is_refused(tmp_path):
    shutil.copytree(LIBRARIES / "AutoEncoderTopK", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["trainer"]["k"] = 7
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "trainer.k is 7 and the weights say 3")
    config["trainer"]["dict_class"] = "CrossCoder"
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "'CrossCoder'")
    config["trainer"]["dict_class"] = "GatedAutoEncoder"
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "it has no gate_bias")


@pytest.mark.parametrize("option", ["transcode", "skip_connection", "signed"])
def test_a_sparse_coder_that_is_no_sae_is_refused(tmp_path, option):
    shutil.copytree(LIBRARIES / "sparsify" / "layers.2", tmp_path, dirs_exist_ok=True)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, option: True}))
    refused(tmp_path, "which this version cannot load")
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, "activation": "groupmax"}))
    refused(tmp_path, "groupmax")
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, "k": 13}))
    refused(tmp_path, "k is 13 of 12 latents")


def test_gemma_scope_compares_pre_activations_of_the_raw_input(tmp_path):
    arrays = gemma_scope(tmp_path / "layer_0")
    x = torch.randn(16, 6, generator=seeded_generator(3))
    z = x @ torch.from_numpy(arrays["W_enc"]) + torch.from_numpy(arrays["b_enc"])
    sae, cfg, _ = load_sae(tmp_path / "layer_0")
    torch.testing.assert_close(sae.encode(x), z.relu() * (z > torch.from_numpy(arrays["threshold"])))
    assert cfg["architecture"] == "jumprelu" and cfg["apply_b_dec_to_input"] is False


def test_arrays_of_objects_are_refused_and_nothing_of_them_runs(tmp_path):
    gemma_scope(tmp_path / "sae", W_enc=np.array([Harm()], dtype=object))
    refused(tmp_path / "sae", "not an archive of arrays of numbers")
    gemma_scope(tmp_path / "whole", threshold=np.zeros(12, dtype=np.int64))
    refused(tmp_path / "whole", "threshold is not of floats")
    gemma_scope(tmp_path / "shape", threshold=np.zeros(5, dtype=np.float32))
    refused(tmp_path / "shape", "size mismatch for threshold")
    (tmp_path / "shape" / "params.npz").write_bytes(pickle.dumps(Harm()))
    refused(tmp_path / "shape", "not an archive of arrays of numbers")


def test_an_archive_made_to_fill_memory_is_refused_before_it_is_unpacked(tmp_path):
    folder = tmp_path / "bomb"
    folder.mkdir()
    np.savez_compressed(folder / "params.npz", W_enc=np.zeros((1 << 12, 1 << 12), np.float32))
    refused(folder, "unpacks to 67108992 bytes, over 8 times its size")
    dictionary = tmp_path / "dictionary"
    shutil.copytree(LIBRARIES / "AutoEncoder", dictionary)
    with zipfile.ZipFile(dictionary / "ae.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ae/data/0", bytes(1 << 26))
    refused(dictionary, "unpacks to 67108864 bytes", "PICKLE_REFUSED")


@pytest.mark.parametrize("name", ["W_dec", "b_enc", "threshold"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, name, value):
    arrays = gemma_scope(tmp_path / "whole")
    arrays[name].flat[1] = value
    gemma_scope(tmp_path / "sae", **arrays)
    refused(tmp_path / "sae", f"{name} has NaN or infinity")


@pytest.mark.parametrize("name", ["sparsify", "AutoEncoder", "sae_lens"])
def test_weights_that_are_not_of_floats_are_refused_in_every_format(make_config, tmp_path, name):
    from pyworker.saes import create_sae, save_inference, to_inference
    from pyworker.train import ActivationScaler

    if name == "sae_lens":
        sae = to_inference(create_sae(make_config("standard").sae, seeded_generator(0)), ActivationScaler())
        save_inference(sae, tmp_path, {})
        weights, bias = tmp_path / "sae_weights.safetensors", "b_dec"
    elif name == "sparsify":
        shutil.copytree(LIBRARIES / "sparsify" / "layers.2", tmp_path, dirs_exist_ok=True)
        weights, bias = tmp_path / "sae.safetensors", "b_dec"
    else:
        shutil.copy(LIBRARIES / name / "config.json", tmp_path)
        weights, bias = tmp_path / "ae.safetensors", "bias"
        state = torch.load(LIBRARIES / name / "ae.pt", weights_only=True)
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, weights)
    load_sae(tmp_path)
    state = load_file(weights)
    for dtype in (torch.int32, torch.bool, torch.float8_e4m3fn):
        save_file({**state, bias: state[bias].to(dtype)}, weights)
        refused(tmp_path, f"b_dec is of {dtype}")


@pytest.mark.parametrize("option", ["normalize_activations", "reshape_activations"])
def test_a_treatment_of_activations_that_nobody_knows_is_refused(tmp_path, option):
    gemma_scope(tmp_path / "sae")
    with pytest.raises(WorkerError, match=f"{option} is 'centre'") as caught:
        load_sae(tmp_path / "sae", overrides={option: "centre"})
    assert caught.value.code == "SAE_INVALID"


def test_a_scale_that_is_no_number_is_refused(make_config, tmp_path):
    from pyworker.saes import create_sae, save_inference, to_inference
    from pyworker.train import ActivationScaler

    sae = to_inference(create_sae(make_config("standard").sae, seeded_generator(0)), ActivationScaler())
    save_inference(sae, tmp_path, {})
    for text in ('{"scaling_factor": "2"}', '{"scaling_factor": NaN}', '{"scaling_factor": 0}'):
        (tmp_path / "activation_scaler.json").write_text(text)
        refused(tmp_path, "the activations were scaled by")


def test_a_transcoder_of_gemma_scope_2_is_refused(tmp_path):
    save_file({"w_enc": torch.zeros(6, 12)}, tmp_path / "params.safetensors")
    config = {"architecture": "jump_relu", "hf_hook_point_in": "a", "hf_hook_point_out": "b"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    refused(tmp_path, "it is a transcoder")


def test_what_the_registry_knows_is_used(make_config, tmp_path):
    from pyworker.saes import create_sae, save_inference, to_inference
    from pyworker.train import ActivationScaler

    sae = to_inference(create_sae(make_config("standard").sae, seeded_generator(0)), ActivationScaler())
    x = torch.randn(16, 8, generator=seeded_generator(3))
    expected = sae(x * 0.5) / 0.5
    sae.cfg.normalize_activations = "expected_average_only_in"
    save_inference(sae, tmp_path, {})
    torch.testing.assert_close(
        load_sae(tmp_path, norm_scaling_factor=0.5)[0](x), expected, rtol=1e-4, atol=1e-5
    )
    rescaled = load_sae(tmp_path, overrides={"normalize_activations": "constant_norm_rescale"})[0]
    assert rescaled.cfg.normalize_activations == "constant_norm_rescale"


def test_a_config_of_another_library_has_a_limit(tmp_path):
    shutil.copy(LIBRARIES / "AutoEncoder" / "ae.pt", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"trainer": "x" * (1 << 20)}))
    refused(tmp_path, "at most 1048576 are read")


@pytest.mark.parametrize("name", ["params.npz", "ae.pt", "sae.safetensors", "cfg.json"])
def test_one_changed_byte_is_read_or_refused_and_nothing_else(tmp_path, name):
    source = {"params.npz": tmp_path / "scope", "ae.pt": LIBRARIES / "AutoEncoder"}
    if name == "params.npz":
        gemma_scope(tmp_path / "scope")
    whole = source.get(name, LIBRARIES / "sparsify" / "layers.2")
    folder = shutil.copytree(whole, tmp_path / "copy")
    generator = np.random.default_rng(7)
    original = (folder / name).read_bytes()
    outcomes = set()
    for _ in range(150):
        changed = bytearray(original)
        changed[generator.integers(len(changed))] ^= 1 << generator.integers(8)
        (folder / name).write_bytes(changed)
        try:
            load_sae(folder)
            outcomes.add("read")
        except WorkerError as error:
            outcomes.add(error.code)
    assert "read" in outcomes and outcomes & {"SAE_INVALID", "PICKLE_REFUSED"}
