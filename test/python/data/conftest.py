"""Fixtures of the data tests."""

import os
from pathlib import Path

import pytest
from small_data import SmallModel, word_tokenizer, write_texts
from transformers import PreTrainedTokenizerFast

SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of shared golden files and fixtures is not here (SAE_LENS_TS_SHARED)")
    return SHARED


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@pytest.fixture
def model(tokenizer) -> SmallModel:
    return SmallModel(tokenizer)


@pytest.fixture
def texts(tmp_path) -> str:
    return write_texts(tmp_path / "texts.jsonl", 200)
