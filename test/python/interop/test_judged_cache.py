"""SAELens reads the caches we write, we read those it writes, and both hold the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pyworker.data.activation_cache import ActivationCache
from pyworker.runners.cache_activations import cache_activations

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
sys.path.insert(0, str(Path(__file__).parents[1] / "runners"))
from small_caching import Session, column, options, tokens
from tiny_models import save_tiny_model

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SCRIPT = Path(__file__).with_name("judge_cache.py")
pytestmark = pytest.mark.skipif(
    not JUDGE, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)
HOOKS = ["blocks.1.hook_resid_post", "blocks.0.hook_mlp_out"]
N, CONTEXT, D_IN = 24, 8, 32


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    model = save_tiny_model(folder / "model")
    (folder / "texts").mkdir()
    texts = [" ".join(f"w{3 + (7 * i + j) % 61}" for j in range(40)) for i in range(30)]
    (folder / "texts" / "train.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    for dtype in ("float32", "float16", "bfloat16"):
        given = options(
            folder,
            folder / dtype,
            model_name=str(model),
            model_class_name="HookedTransformer",
            hook_name=HOOKS,
            dataset_path=str(folder / "texts"),
            model_batch_size=2,
            training_tokens=N * CONTEXT,
            shuffle=False,
            dtype=dtype,
        )
        cache_activations({"config": given, "recorded": given}, Session())
    sizes = {"context": CONTEXT, "d_in": D_IN}
    read = [
        {"path": str(folder / dtype), "hook_name": hook, "dtype": "float32", **sizes}
        for dtype in ("float32", "float16", "bfloat16")
        for hook in HOOKS
    ]
    write = {
        "path": str(folder / "theirs"),
        "hook_name": HOOKS[0],
        "dtype": "float32",
        "n_sequences": N,
        **sizes,
    }
    request = {"model": str(model), "dataset": str(folder / "texts"), "read": read, "write": write}
    (folder / "request.json").write_text(json.dumps(request))
    subprocess.run(
        [JUDGE, SCRIPT, folder / "request.json", folder / "results.safetensors"], check=True, timeout=240
    )
    return folder, read, load_file(folder / "results.safetensors")


def test_saelens_reads_every_hook_of_our_caches_bit_for_bit(judged):
    _, read, results = judged
    for number, asked in enumerate(read):
        ours = ActivationCache.open(asked["path"])
        expected = torch.from_numpy(column(ours, asked["hook_name"]).astype(np.float32))
        assert torch.equal(results[f"read.{number}"], expected.reshape(-1, D_IN)), asked
        ids = torch.from_numpy(tokens(ours)).reshape(-1)
        assert torch.equal(results[f"read.{number}.token_ids"].int(), ids)
        assert len(ids) == N * CONTEXT


def test_we_read_the_cache_that_saelens_writes_bit_for_bit(judged):
    folder, _, results = judged
    theirs = ActivationCache.open(folder / "theirs")
    assert (theirs.manifest, theirs.hook_names, theirs.n_sequences) == (None, HOOKS[:1], N)
    assert np.array_equal(column(theirs, HOOKS[0]), results["written"].numpy())
    assert np.array_equal(tokens(theirs), results["written.token_ids"].numpy())


def test_both_hold_the_same_tokens_and_activations(judged):
    folder, _, _ = judged
    ours, theirs = ActivationCache.open(folder / "float32"), ActivationCache.open(folder / "theirs")
    assert np.array_equal(tokens(ours), tokens(theirs))
    np.testing.assert_allclose(column(ours, HOOKS[0]), column(theirs, HOOKS[0]), rtol=1e-4, atol=1e-5)
