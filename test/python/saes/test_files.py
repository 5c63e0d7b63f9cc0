"""Folding keeps the function; files come back as they went; files of SAELens load."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.errors import WorkerError
from pyworker.saes import create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler
from pyworker.train.activation_scaler import Whitening

ARCHITECTURES = ["standard", "gated", "jumprelu", "topk"]


def rows(n=256, seed=5):
    return torch.randn(n, 8, generator=seeded_generator(seed)) * 2 + 0.5


def trained_looking(make_config, architecture, **options):
    sae = create_sae(make_config(architecture, **options).sae, seeded_generator(0))
    generator = seeded_generator(1)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.abs() if "threshold" in name else noise)
    return sae.eval()


def whitening_of(x):
    scaler = ActivationScaler()

    class Cfg:
        normalize_activations, vocabulary, d_in = "covariance_whitening", "v6", 8

    scaler.estimate(Cfg, iter([x]))
    return scaler


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("b_dec_in", [True, False])
@pytest.mark.parametrize("kind", ["factor", "whitening"])
def test_a_folded_sae_does_to_raw_rows_what_training_did_to_scaled_ones(
    make_config, architecture, b_dec_in, kind
):
    sae = trained_looking(make_config, architecture, apply_b_dec_to_input=b_dec_in)
    x = rows()
    scaler = ActivationScaler(factor=0.37) if kind == "factor" else whitening_of(x)
    expected = scaler.unscale(sae(scaler(x)))
    torch.testing.assert_close(to_inference(sae, scaler)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_decoder_norms_keeps_the_function_and_makes_rows_unit(make_config, architecture):
    sae = to_inference(trained_looking(make_config, architecture), ActivationScaler())
    x = rows()
    before = sae(x)
    sae.fold_W_dec_norm()
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(32))
    torch.testing.assert_close(sae(x), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("vocabulary", ["v5", "v6"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_saved_loads_to_the_same_numbers(make_config, tmp_path, architecture, vocabulary, dtype):
    sae = to_inference(
        trained_looking(make_config, architecture, vocabulary=vocabulary, dtype=dtype), ActivationScaler()
    )
    sparsity = torch.linspace(-5, 0, 32)
    save_inference(sae, tmp_path, {"model_name": "tiny"}, sparsity)
    loaded, cfg, log_sparsity = load_sae(tmp_path)
    x = rows()
    assert torch.equal(loaded.encode(x), sae.encode(x))
    assert torch.equal(loaded(x), sae(x))
    assert torch.equal(log_sparsity, sparsity)
    assert cfg["architecture"] == architecture
    assert cfg["metadata"]["model_name"] == "tiny"
    assert cfg["metadata"]["sae_lens_version"] == "6.54.12"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("vocabulary", ["v5", "v6"])
def test_training_goes_on_from_a_finished_sae(make_config, architecture, vocabulary):
    options = {"vocabulary": vocabulary}
    if architecture == "topk":
        options["rescale_acts_by_decoder_norm"] = False
    sae = trained_looking(make_config, architecture, **options)
    fresh = create_sae(make_config(architecture, **options).sae, seeded_generator(9))
    fresh.adopt(to_inference(sae, ActivationScaler()))
    torch.testing.assert_close(fresh.eval()(rows()), sae(rows()))
    with pytest.raises(WorkerError, match="asks for"):
        create_sae(make_config(architecture, d_sae=16, **options).sae, seeded_generator(9)).adopt(
            to_inference(sae, ActivationScaler())
        )


@pytest.mark.parametrize(
    ("architecture", "ours", "said"),
    [
        ("standard", {"d_sae": 16}, "the SAE has d_sae 32; the configuration asks for d_sae 16"),
        (
            "gated",
            {"apply_b_dec_to_input": False},
            "apply_b_dec_to_input True; .* apply_b_dec_to_input False",
        ),
        (
            "jumprelu",
            {"normalize_activations": "layer_norm"},
            "normalize_activations 'none'; .* 'layer_norm'",
        ),
        (
            "topk",
            {"k": 3, "rescale_acts_by_decoder_norm": False},
            "has k 4, resc.* True; .* k 3, resc.* False",
        ),
        ("topk", {"normalize_activations": "constant_norm_rescale"}, "'none'; .* 'constant_norm_rescale'"),
    ],
)
def test_a_finished_sae_that_is_another_function_is_refused_with_both_values(
    make_config, tmp_path, architecture, ours, said
):
    save_inference(
        to_inference(trained_looking(make_config, architecture), ActivationScaler()), tmp_path, {}, None
    )
    sae = create_sae(make_config(architecture, **ours).sae, seeded_generator(9))
    with pytest.raises(WorkerError, match=said) as caught:
        sae.adopt(load_sae(tmp_path)[0])
    assert caught.value.code == "SAE_INVALID"
    assert all(name in caught.value.hint for name in ours)


def test_a_run_time_normalisation_is_not_lost_on_the_way_to_training(make_config, tmp_path):
    normalised = trained_looking(make_config, "standard", normalize_activations="layer_norm")
    save_inference(to_inference(normalised, ActivationScaler()), tmp_path, {}, None)
    with pytest.raises(WorkerError, match=r"has normalize_activations 'layer_norm'; .* 'none'"):
        create_sae(make_config("standard").sae, seeded_generator(9)).adopt(load_sae(tmp_path)[0])
    create_sae(normalised.training_cfg, seeded_generator(9)).adopt(load_sae(tmp_path)[0])


@pytest.mark.parametrize("kind", ["expected_average_only_in", "covariance_whitening"])
def test_a_scale_estimated_from_data_may_be_another_one(make_config, tmp_path, kind):
    save_inference(to_inference(trained_looking(make_config, "topk"), ActivationScaler()), tmp_path, {}, None)
    sae = create_sae(make_config("topk", normalize_activations=kind).sae, seeded_generator(9))
    sae.adopt(load_sae(tmp_path)[0])


def test_a_finished_sae_that_lacks_a_parameter_is_not_filled_up_with_random_numbers(make_config):
    finished = to_inference(trained_looking(make_config, "gated"), ActivationScaler())
    del finished.b_mag
    with pytest.raises(RuntimeError, match="b_mag"):
        create_sae(make_config("gated").sae, seeded_generator(9)).adopt(finished)


@pytest.mark.parametrize("activation", ["tanh-relu", "gelu"])
def test_an_activation_saelens_does_not_know_has_an_architecture_it_refuses(
    make_config, tmp_path, activation
):
    sae = to_inference(trained_looking(make_config, "standard", activation_fn=activation), ActivationScaler())
    save_inference(sae, tmp_path, {})
    loaded, cfg, _ = load_sae(tmp_path)
    assert cfg["architecture"] == f"standard_{activation}"
    assert torch.equal(loaded(rows()), sae(rows()))


def test_a_topk_activation_is_saved_as_a_topk_sae(make_config, tmp_path):
    sae = trained_looking(make_config, "standard", activation_fn="topk", activation_fn_kwargs={"k": 3})
    save_inference(to_inference(sae, ActivationScaler()), tmp_path, {})
    loaded, cfg, _ = load_sae(tmp_path)
    assert (cfg["architecture"], cfg["k"]) == ("topk", 3)
    torch.testing.assert_close(loaded(rows()), sae(rows()))


@pytest.mark.parametrize("kind", ["layer_norm", "constant_norm_rescale"])
def test_run_time_normalisation_is_undone_for_the_rows_that_were_encoded(make_config, kind):
    sae = to_inference(
        trained_looking(make_config, "standard", normalize_activations=kind), ActivationScaler()
    )
    x = rows(16)
    latents = sae.encode(x)
    torch.testing.assert_close(sae.decode(latents), sae(x))
    with pytest.raises(WorkerError, match="normalises each row"):
        sae.decode(latents[:3])


def test_heads_are_joined_and_parted_again_for_hook_z(make_config):
    sae = to_inference(
        trained_looking(make_config, "standard", reshape_activations="hook_z"), ActivationScaler()
    )
    x = rows(16)
    out = sae(x.reshape(16, 2, 4))
    assert out.shape == (16, 2, 4)
    torch.testing.assert_close(out.flatten(1), sae(x))


def test_folders_of_version_5_load_as_it_used_them(golden):
    folders = sorted((golden / "v5" / "checkpoints").iterdir())
    assert folders
    for folder in folders:
        sae, cfg, log_sparsity = load_sae(folder)
        vectors = golden / "v5" / "train" / f"{folder.name}.safetensors"
        assert cfg["metadata"]["hook_name"] == "blocks.0.hook_resid_post"
        assert log_sparsity.shape == (32,)
        if vectors.exists():
            t = load_file(vectors)
            torch.testing.assert_close(sae.encode(t["inference_in"]), t["inference_acts"], rtol=0, atol=2e-5)
            torch.testing.assert_close(sae(t["inference_in"]), t["inference_out"], rtol=0, atol=2e-5)


def test_folders_of_version_6_load_as_it_used_them(golden):
    folders = sorted((golden / "v6").glob("*_inference"))
    assert folders
    for folder in folders:
        t = load_file(golden / "v6" / f"{folder.name.removesuffix('_inference')}.safetensors")
        torch.testing.assert_close(
            load_sae(folder)[0](t["inference_in"]), t["inference_out"], rtol=0, atol=2e-5
        )


def test_the_scaling_beside_an_unfolded_training_checkpoint_is_folded(make_config, tmp_path):
    sae = trained_looking(make_config, "standard")
    save_inference(to_inference(sae, ActivationScaler()), tmp_path, {})
    (tmp_path / "activation_scaler.json").write_text(
        json.dumps({"scaling_factor": 0.5, "has_whitening": False})
    )
    x = rows()
    torch.testing.assert_close(load_sae(tmp_path)[0](x), sae(x * 0.5) / 0.5, rtol=1e-4, atol=1e-5)


def test_a_broken_folder_is_named(tmp_path):
    with pytest.raises(WorkerError, match="cfg\\.json") as caught:
        load_sae(tmp_path)
    assert caught.value.code == "SAE_INVALID"
    cfg = {"architecture": "temporal", "d_in": 8, "d_sae": 4, "metadata": {"sae_lens_version": "6.54.12"}}
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    save_file({"W_enc": torch.zeros(8, 4)}, tmp_path / "sae_weights.safetensors")
    with pytest.raises(WorkerError, match="temporal"):
        load_sae(tmp_path)
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, "architecture": "standard"}))
    with pytest.raises(WorkerError, match="W_dec is missing"):
        load_sae(tmp_path)
    (tmp_path / "sae_weights.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(WorkerError, match="sae_weights"):
        load_sae(tmp_path)


def test_whitening_can_be_taken_back(make_config):
    sae = to_inference(trained_looking(make_config, "gated", apply_b_dec_to_input=False), ActivationScaler())
    x = rows()
    expected = sae(x)
    scaler = whitening_of(x)
    assert isinstance(scaler.whitening, Whitening)
    scaler.unfold_from(sae)
    torch.testing.assert_close(scaler.unscale(sae(scaler(x))), expected, rtol=1e-3, atol=1e-3)
