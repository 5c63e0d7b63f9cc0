"""Token for token what SAELens' PretokenizeRunner makes of a corpus that fits one batch; and it trains on ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "runners"))
from small_work import run

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
SCRIPT = Path(__file__).with_name("judge_pretokenize.py")
SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", Path(__file__).parents[4] / "shared"))
pytestmark = [
    pytest.mark.skipif(not JUDGE, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"),
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"no fixtures at {SHARED} (SAE_LENS_TS_SHARED)"),
]

STORIES, SMOL = (
    str(SHARED / "fixtures/models" / name) for name in ("stories260K", "SmolLM2-135M-Instruct-Q4_1")
)
WIKI = str(SHARED / "fixtures/datasets/wikitext2/wiki_valid.parquet")
VALID = str(SHARED / "fixtures/datasets/tinystories/valid.jsonl")
EACH = {"dataset_name": None, "seed": 7, "num_proc": 1, "pretokenize_batch_size": 1000}

CASES = [
    {"tokenizer_name": STORIES, "dataset_path": VALID},
    {"tokenizer_name": STORIES, "dataset_path": VALID, "context_size": 64, "sequence_separator_token": "eos"},
    {"tokenizer_name": SMOL, "dataset_path": WIKI, "context_size": 256, "begin_sequence_token": "bos"},
    {"tokenizer_name": SMOL, "dataset_path": WIKI, "begin_batch_token": 0, "sequence_separator_token": None},
    {"tokenizer_name": SMOL, "dataset_path": VALID, "disable_concat_sequences": True, "shuffle": False},
    {"tokenizer_name": SMOL, "dataset_path": VALID, "use_chat_formatting": True, "begin_batch_token": "eos"},
    {"tokenizer_name": SMOL, "dataset_path": "json", "data_files": [VALID], "context_size": 33},
]


def for_saelens(case):
    """It has no local files as such: ``load_dataset`` takes a format and the files of it."""
    if "data_files" in case:
        return {**EACH, **case}
    path = case["dataset_path"]
    kind = "parquet" if path.endswith(".parquet") else "json"
    return {**EACH, **case, "dataset_path": kind, "data_files": [path]}


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    (folder / "cases.json").write_text(json.dumps([for_saelens(case) for case in CASES]))
    judge(folder / "cases.json", folder)
    return [np.load(folder / f"{number}.npy") for number in range(len(CASES))]


def judge(*words):
    done = subprocess.run([JUDGE, SCRIPT, *words], check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_sequences_are_those_of_saelens(judged, tmp_path, number):
    case = CASES[number]
    defaults = {"context_size": 128, "sequence_separator_token": "bos"}
    run(**{**EACH, **defaults, **case, "save_path": str(tmp_path / "ours")})
    ours = np.array(datasets.load_from_disk(str(tmp_path / "ours"))["input_ids"][:])
    assert len(ours) > 50
    assert ours.tolist() == judged[number].tolist()


def test_saelens_trains_on_what_was_pretokenized_here(tmp_path):
    run(**EACH | {"tokenizer_name": STORIES, "dataset_path": VALID, "save_path": str(tmp_path / "ours")})
    judge(tmp_path / "ours", STORIES, tmp_path / "sae")
    assert (tmp_path / "sae" / "sae_weights.safetensors").is_file()
