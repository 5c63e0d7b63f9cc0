"""The arithmetic against what SAELens 6.54.12 recorded: every case of golden/evals, whichever are there."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pyworker.evals.metrics import (
    LatentDensity,
    ModelMetrics,
    ReconstructionMetrics,
    cross_entropy,
    kl_divergence,
)
from pyworker.evals.weights import weight_statistics

SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", Path(__file__).parents[4] / "shared"))
EVALS = SHARED / "golden" / "evals"
INDEX = json.loads((EVALS / "index.json").read_text()) if EVALS.exists() else {"cases": {}}
CASES = [name for name in INDEX["cases"] if (EVALS / f"{name}.safetensors").exists()]
# Sums within a batch are float64 here, float32 in SAELens, which is wrong for a large mean: the exact value.
# A single row has no variance: SAELens divides rounding noise by rounding noise.
FIXED = {"large_mean": 0.9169, "single_row": 0.0, "no_batches": math.nan}

pytestmark = pytest.mark.skipif(not EVALS.exists(), reason=f"{EVALS} is absent")


def kept(tokens_PC: torch.Tensor, case: dict) -> torch.Tensor:
    excluded = case["exclude_special_tokens"] or []
    assert isinstance(excluded, list), "the recorded model has no tokenizer, so ids are listed"
    return ~torch.isin(tokens_PC, torch.tensor(excluded, dtype=tokens_PC.dtype))


def number(recorded: float | str) -> float:
    return float(recorded)


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_case_gives_the_recorded_metrics(name: str) -> None:
    case, t = INDEX["cases"][name], load_file(EVALS / f"{name}.safetensors")
    factor = case["activation_scaling_factor"] or 1.0
    model = ModelMetrics(ce_loss=True, kl=True)
    reconstruction = ReconstructionMetrics(l2_norms=True, sparsity=True, variance=True)
    density = LatentDensity()
    n_recon = n_sparsity = 0
    for i in range(6):
        tokens_PC = t[f"tokens.{i}"]
        kept_PC = kept(tokens_PC, case)
        if f"recon.{i}.logits_with_sae" in t:
            logits = {v: t[f"recon.{i}.logits_{v}"] for v in ("without_sae", "with_sae", "with_ablation")}
            for variant, logits_PCV in logits.items():
                torch.testing.assert_close(
                    cross_entropy(logits_PCV, tokens_PC), t[f"recon.{i}.ce_{variant}"], rtol=1e-5, atol=1e-5
                )
            model.begin_batch()
            model.add(tokens_PC, kept_PC, logits)
        n_recon += tokens_PC.numel() if i < 3 else 0
        if f"sv.{i}.sae_in_scaled" in t:
            latents_PCF = t[f"sv.{i}.feature_acts"]
            x_PCD, x_hat_PCD = t[f"sv.{i}.sae_in_scaled"] / factor, t[f"sv.{i}.sae_out_scaled"] / factor
            reconstruction.add(x_PCD[kept_PC], latents_PCF[kept_PC], x_hat_PCD[kept_PC])
            density.add(latents_PCF, kept_PC)
            n_sparsity += tokens_PC.numel()
    got = {**model.compute(), **reconstruction.compute()}
    got["token_stats/total_tokens_eval_reconstruction"] = n_recon
    got["token_stats/total_tokens_eval_sparsity_variance"] = n_sparsity
    for group, metrics in case["metrics"].items():
        for metric, recorded in metrics.items():
            absolute = 1e-5 if metric == "explained_variance" else 1e-6
            assert got[f"{group}/{metric}"] == pytest.approx(
                number(recorded), rel=1e-4, abs=absolute, nan_ok=True
            ), f"{group}/{metric}"
    sae = type("Weights", (), {k.removeprefix("sae."): v for k, v in t.items() if k.startswith("sae.")})()
    arrays = {**density.compute(), **weight_statistics(sae)}
    for array, recorded in case["featurewise"].items():
        expected = torch.tensor([number(x) for x in recorded])
        torch.testing.assert_close(
            arrays[array].float(),
            expected,
            rtol=1e-4,
            atol=1e-5,
            equal_nan=True,
            msg=lambda m, a=array: f"{a}: {m}",
        )


@pytest.mark.parametrize("recorded", INDEX.get("explained_variance", []), ids=lambda r: r["name"])
def test_explained_variance_is_the_recorded_one_or_the_exact_one(recorded: dict) -> None:
    t = load_file(EVALS / "functions.safetensors")
    variance = ReconstructionMetrics(l2_norms=False, sparsity=False, variance=True)
    for i in range(recorded["n_batches"]):
        x = t[f"ev/{recorded['name']}/x.{i}"]
        variance.add(x, torch.zeros(len(x), 1), t[f"ev/{recorded['name']}/x_hat.{i}"])
    expected = FIXED.get(recorded["name"], number(recorded["result"]))
    absolute = 1e-4 if recorded["name"] == "large_mean" else 1e-5
    found = variance.compute()["reconstruction_quality/explained_variance"]
    assert found == pytest.approx(expected, rel=1e-5, abs=absolute, nan_ok=True)


@pytest.mark.parametrize("name", ["random", "identical", "extreme"])
def test_kl_divergence_is_the_recorded_one(name: str) -> None:
    t = load_file(EVALS / "functions.safetensors")
    got = kl_divergence(t[f"kl/{name}/orig"], t[f"kl/{name}/new"])
    torch.testing.assert_close(got, t[f"kl/{name}/out"], rtol=1e-4, atol=1e-6)
