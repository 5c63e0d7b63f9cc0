"""A cache that SAELens wrote: we read its activations as they are, and train from it as from the model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pyworker.data.activation_cache import ActivationCache
from pyworker.data.cached_rows import CachedRows, CachedSequences
from pyworker.runners.models import language_model

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
sys.path.insert(0, str(Path(__file__).parents[1] / "runners"))
import test_training
import test_training_rows
from test_training_rows import CONTEXT, Session, run

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SCRIPT = Path(__file__).with_name("judge_cached_rows.py")
pytestmark = pytest.mark.skipif(
    not JUDGE, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)
HOOK = "model.layers.1"
N = 48
place = test_training.place
configure = test_training_rows.configure


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(3, 64, (N, CONTEXT))


@pytest.fixture(scope="module", params=["float32", "float16"])
def theirs(request, place, tmp_path_factory) -> tuple[Path, str]:
    """The cache and its type; more than one shard."""
    folder = tmp_path_factory.mktemp("theirs")
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"tokens": row.tolist()}) for row in tokens()))
    cache = folder / "cache"
    command = [JUDGE, SCRIPT, place, rows, HOOK, str(CONTEXT), request.param, cache]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(cache.glob("*.arrow"))) > 1
    return cache, request.param


def test_its_activations_and_tokens_are_those_of_the_model(theirs, configure):
    path, dtype = theirs
    config = configure(use_cached_activations=True, on_data_end="stop")
    sequences = CachedSequences(ActivationCache.open(path), HOOK)
    assert len(sequences) == N
    lm = language_model(configure(), Session())
    rows = torch.cat([chunk.x_ND for chunk in CachedRows(config, sequences, 0, list).chunks()])
    ids = np.concatenate(
        [chunk.token_id_N.numpy() for chunk in CachedRows(config, sequences, 0, list).chunks()]
    )
    assert np.array_equal(ids, tokens().flatten())
    assert rows.dtype == getattr(torch, dtype)
    expected = lm.activations(torch.from_numpy(tokens())).flatten(0, 1)
    assert torch.allclose(rows.float(), expected, atol=2e-3 if dtype == "float16" else 1e-5)


def test_training_goes_on_it(theirs, configure, tmp_path):
    path, dtype = theirs
    options = {
        "use_cached_activations": True,
        "cached_activations_path": str(path),
        "dataset_path": "",
        "dtype": dtype,
    }
    session = run(configure(**options), tmp_path, Session())
    assert session.result["n_training_steps"] == 10
    assert session.last("reconstruction_quality/mse") > 0
