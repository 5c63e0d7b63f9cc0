"""Random documents and chunks: we pack and mix them as SAELens does."""

import json
import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from pyworker.data.mixing_buffer import MixingBuffer
from pyworker.data.rows import Rows
from pyworker.data.tokenization import concat_and_batch_sequences

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SCRIPT = Path(__file__).with_name("judge_data.py")
pytestmark = pytest.mark.skipif(
    not JUDGE, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)

SEED, N_CASES = 20261123, 400


def packing_case(rng):
    """Few token ids, so that special tokens meet themselves in the documents."""
    begin_batch = rng.choice([None, 0, 1])
    return {
        "documents": [[rng.randrange(5) for _ in range(rng.randrange(24))] for _ in range(rng.randrange(9))],
        "options": {
            "context_size": rng.randrange(1 if begin_batch is None else 2, 12),
            "begin_batch_token_id": begin_batch,
            "begin_sequence_token_id": rng.choice([None, 0, 2]),
            "sequence_separator_token_id": rng.choice([None, 0, 3]),
            "disable_concat_sequences": rng.random() < 0.25,
        },
    }


def mixing_case(rng):
    batch = rng.randrange(1, 12)
    return {
        "sizes": [rng.randrange(1, 40) for _ in range(rng.randrange(1, 30))],
        "options": {
            "buffer_size": batch + rng.randrange(60),
            "batch_size": batch,
            "mix_fraction": rng.choice([0.0, 1.0, round(rng.random(), 2)]),
        },
        "seed": rng.randrange(1000),
    }


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    rng = random.Random(SEED)
    cases = {
        "packing": [packing_case(rng) for _ in range(N_CASES)],
        "mixing": [mixing_case(rng) for _ in range(N_CASES)],
    }
    folder = tmp_path_factory.mktemp("judge")
    (folder / "cases.json").write_text(json.dumps(cases))
    subprocess.run([JUDGE, SCRIPT, folder / "cases.json", folder / "results.json"], check=True, timeout=240)
    results = json.loads((folder / "results.json").read_text())
    return {kind: list(zip(cases[kind], results[kind], strict=True)) for kind in cases}


def test_random_documents_become_the_sequences_of_saelens(judged):
    for case, theirs in judged["packing"]:
        documents = [np.array(document, dtype=np.int64) for document in case["documents"]]
        ours = [sequence.tolist() for sequence in concat_and_batch_sequences(documents, **case["options"])]
        assert ours == theirs, case
    assert sum(len(theirs) for _, theirs in judged["packing"]) > N_CASES


def test_random_chunks_become_the_batches_of_saelens(judged):
    for case, theirs in judged["mixing"]:
        ids = torch.arange(sum(case["sizes"]))
        chunks = (
            Rows(part[:, None].float(), part.int(), part.int(), part) for part in ids.split(case["sizes"])
        )
        orders = [torch.tensor(order) for order in theirs["permutations"]]
        given = case["options"]
        ours = MixingBuffer(
            chunks,
            given["buffer_size"],
            given["batch_size"],
            given["mix_fraction"],
            lambda n, refill, orders=orders: orders[refill],
        )
        assert [batch.sequence_N.tolist() for batch in ours] == theirs["batches"], case
