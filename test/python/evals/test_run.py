"""An evaluation in the language model holds the logits of a few prompts; the numbers are those of all at once."""

import sys
from pathlib import Path

import pytest
import torch

from pyworker.evals import run
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.saes import create_sae, seeded_generator

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from tiny_models import VOCAB, save_tiny_model

PROMPTS, CONTEXT = 7, 24
TOKENS = [
    torch.randint(1, 64, (PROMPTS, CONTEXT), generator=torch.Generator().manual_seed(n)) for n in range(2)
]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    config = LanguageModelConfig(
        model_name=str(folder), model_class_name="AutoModelForCausalLM", hook_name="model.layers.1"
    )
    model = load_language_model(config)
    model.hook_name = config.hook_name
    return model


def evaluated(lm, make_config, monkeypatch, n_prompts: int):
    monkeypatch.setattr(run, "LOGIT_BYTES", n_prompts * CONTEXT * VOCAB * 4)
    asked, logits = [], lm.logits
    monkeypatch.setattr(
        lm, "logits", lambda tokens, *rest: asked.append(len(tokens)) or logits(tokens, *rest)
    )
    config = make_config("topk", {}, d_in=32, d_sae=64, k=8)
    saes = [run.Subject(create_sae(config.sae, seeded_generator(seed))) for seed in (0, 1)]
    results = run.run_evals(saes, lm, TOKENS, compute_kl=True, compute_featurewise_density_statistics=True)
    return asked, results


@pytest.mark.parametrize("n_prompts", [1, 3])
def test_a_few_prompts_at_a_time_give_the_numbers_of_all_at_once(lm, make_config, monkeypatch, n_prompts):
    with monkeypatch.context() as patch:
        asked, whole = evaluated(lm, make_config, patch, PROMPTS)
    assert set(asked) == {PROMPTS}
    with monkeypatch.context() as patch:
        asked, parted = evaluated(lm, make_config, patch, n_prompts)
    assert max(asked) == n_prompts
    for one, other in zip(parted, whole, strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-6, nan_ok=True)
        assert one.metrics.keys() == other.metrics.keys() and len(one.metrics) > 12
        for name, values_F in other.featurewise.items():
            torch.testing.assert_close(one.featurewise[name], values_F, equal_nan=True)


def test_a_prompt_that_is_too_long_for_the_block_is_taken_alone(lm, make_config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run, "LOGIT_BYTES", 1)
        assert [len(part) for part in run._few_prompts(lm, TOKENS[0])] == [1] * PROMPTS
