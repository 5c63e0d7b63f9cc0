"""Our language models and evaluations against SAELens 6.54 on TransformerLens 3.9, on a real model.

Needs SAE_LENS_TS_JUDGE_PYTHON, the Python of an environment that has both, and the fixtures.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.evals import Subject, run_evals
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.saes import load_sae

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", Path(__file__).parents[4] / "shared"))
MODEL = SHARED / "fixtures" / "models" / "stories260K"
HOOKS = {"blocks.2.hook_resid_post": 64, "blocks.2.attn.hook_z": 64}

pytestmark = [
    pytest.mark.skipif(not JUDGE, reason="SAE_LENS_TS_JUDGE_PYTHON is not set"),
    pytest.mark.skipif(not MODEL.exists(), reason=f"{MODEL} is absent"),
]


def random_topk(folder: Path, hook_name: str, d_in: int) -> Path:
    """A random TopK SAE as SAELens writes one."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    W_dec_FD = torch.nn.functional.normalize(torch.randn(256, d_in, generator=generator), dim=1)
    weights = {"W_dec": W_dec_FD, "W_enc": W_dec_FD.T.contiguous(), "b_enc": torch.zeros(256)}
    save_file({**weights, "b_dec": torch.full((d_in,), 0.1)}, folder / "sae_weights.safetensors")
    cfg = {
        "architecture": "topk",
        "d_in": d_in,
        "d_sae": 256,
        "k": 32,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "metadata": {
            "sae_lens_version": "6.54.12",
            "hook_name": hook_name,
            "model_name": "stories",
        },
    }
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """What one run of the judge computed: our batches, the SAE folder of each hook with its metrics, activations."""
    folder = tmp_path_factory.mktemp("judged")
    generator = torch.Generator().manual_seed(1)
    batches = {f"tokens.{i}": torch.randint(0, 512, (4, 48), generator=generator) for i in range(3)}
    for tokens in batches.values():
        tokens[:, 0] = 1
        tokens[torch.rand(tokens.shape, generator=generator) < 0.12] = 2
    save_file(batches, folder / "tokens.safetensors")
    saes = {hook: random_topk(folder / hook, hook, d_in) for hook, d_in in HOOKS.items()}
    script = Path(__file__).with_name("judge_language_model.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    files = [folder / "tokens.safetensors", folder / "acts.safetensors"]
    command = [JUDGE, script, MODEL, *files, *saes.values()]
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=240, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return list(batches.values()), saes, load_file(files[1])


def test_every_hook_of_transformer_lens_3_has_its_value_here(judged) -> None:
    batches, _, activations = judged
    lm = load_language_model(LanguageModelConfig(model_name=str(MODEL)))
    for name in ("blocks.0.hook_resid_pre", "blocks.2.hook_resid_post", "blocks.4.hook_resid_post"):
        torch.testing.assert_close(lm.activations(batches[0], name), activations[name], rtol=1e-3, atol=1e-3)
    trainable = {p.name for p in lm.hook_points() if p.d_in is not None}
    compared = [name for name in activations if name in trainable]
    for name in compared:
        expected = activations[name].flatten(2)
        torch.testing.assert_close(
            lm.activations(batches[0], name),
            expected,
            rtol=1e-3,
            atol=1e-3,
            msg=lambda m, n=name: f"{n}: {m}",
        )
    common = (
        "hook_mlp_out",
        "hook_attn_out",
        "hook_resid_mid",
        "attn.hook_z",
        "attn.hook_q",
        "mlp.hook_post",
    )
    assert {f"blocks.{layer}.{name}" for layer in range(5) for name in common} <= set(compared)


@pytest.fixture(scope="module", params=HOOKS)
def evaluated(request, judged):
    """Our evaluation at a hook, and the folder with SAELens'. What counts: 13 % of the tokens are special."""
    batches, saes, _ = judged
    lm = load_language_model(LanguageModelConfig(model_name=str(MODEL), hook_name=request.param))
    special = torch.isin(torch.cat(batches), torch.tensor(lm.special_token_ids()))
    assert 0.1 < special.float().mean() < 0.2
    [found] = run_evals(
        [Subject(load_sae(saes[request.param])[0])],
        lm,
        batches,
        compute_kl=True,
        compute_featurewise_density_statistics=True,
        compute_featurewise_weight_based_metrics=True,
    )
    return found, saes[request.param], int((~special).sum())


NEAR_ZERO = {
    "model_performance_preservation/ce_loss_score": 2e-4,
    "model_behavior_preservation/kl_div_score": 2e-4,
}
"""Absolute tolerances of what may be near zero, or is a quotient of differences: nats are summed to 1e-5 of themselves,
and a score divides a difference of two by another. All else is within 1e-4 of its size."""


def test_evaluations_are_those_of_saelens(evaluated) -> None:
    found, folder, _ = evaluated
    recorded = json.loads((folder / "metrics.json").read_text())
    assert {name for name in found.metrics if name not in recorded} == {
        name for name in found.metrics if name.startswith("misc_metrics/")
    }
    for name, value in recorded.items():
        assert found.metrics[name] == pytest.approx(value, rel=1e-4, abs=NEAR_ZERO.get(name, 0)), name


def test_what_has_a_value_for_each_latent_is_that_of_saelens(evaluated) -> None:
    found, folder, n_kept = evaluated
    recorded = load_file(folder / "featurewise.safetensors")
    assert found.featurewise.keys() >= recorded.keys() >= {"feature_density", "encoder_decoder_cosine_sim"}
    # Counts over counts: the same but for a latent or two at the edge of the 32 largest, where rounding decides.
    firings = [found.featurewise["feature_density"] * n_kept, recorded["feature_density"] * n_kept]
    differs = (firings[0] - firings[1]).abs()
    assert differs.max() < 1.01 and (differs > 0.01).sum() <= 2
    same = differs < 0.01
    for name, expected in recorded.items():
        # The bias is zero and so is its tolerance; a cosine is a sum of 64 products below one, rounded to 6e-8 each.
        absolute = 4e-6 if name == "encoder_decoder_cosine_sim" else 0
        got = found.featurewise[name].float()
        torch.testing.assert_close(got[same], expected[same], rtol=1e-4, atol=absolute, equal_nan=True)
