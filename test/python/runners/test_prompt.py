"""The latents of a prompt are those of the dense computation."""

import sys
from pathlib import Path

import msgspec
import pytest
import torch

from pyworker.errors import WorkerError
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.runners.prompt import LATENTS_A_TOKEN, read_prompt
from pyworker.saes import create_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from small_work import Listener
from tiny_models import save_tiny_model

HOOK, LATENTS, CONTEXT = "model.layers.1", 96, 6
TEXT = " ".join(f"w{i}" for i in range(10, 20))


@pytest.fixture(scope="module")
def params(make_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt")
    model = save_tiny_model(folder / "model")
    run = {"model_name": str(model), "model_class_name": "AutoModelForCausalLM", "hook_name": HOOK}
    config = make_config(
        "standard", {**run, "context_size": CONTEXT, "prepend_bos": True}, d_in=32, d_sae=LATENTS
    )
    sae = to_inference(create_sae(config.sae, seeded_generator(0)), ActivationScaler(None))
    save_inference(sae, folder / "sae", {})
    place = {"overrides": {}, "norm_scaling_factor": None, "hook_name": HOOK, "hook_head_index": None}
    params = {
        "config": msgspec.to_builtins(config),
        "device": "cpu",
        "sae": {"path": str(folder / "sae"), **place},
    }
    return {**params, "text": TEXT, "latent": None}, sae, model


def test_tokens_begin_as_in_training_and_their_latents_are_those_of_the_sae(params):
    asked, sae, model = params
    answer = read_prompt({**asked, "latent": 7}, Listener())
    lm = load_language_model(
        LanguageModelConfig(model_name=str(model), model_class_name="AutoModelForCausalLM")
    )
    ids = [1, *lm.tokenizer.encode(TEXT, add_special_tokens=False)]
    a_CF = sae.encode(lm.activations(torch.tensor([ids[:CONTEXT]]), HOOK)[0])
    assert answer["tokens"] == [lm.token_text(token) for token in ids[:CONTEXT]]
    assert answer["n_left_out"] == len(ids) - CONTEXT > 0
    assert answer["n_active"] == (a_CF > 0).sum(-1).tolist()
    assert max(answer["n_active"]) > LATENTS_A_TOKEN
    torch.testing.assert_close(torch.tensor(answer["values"]), a_CF[:, 7])
    for told, a_F in zip(answer["latents"], a_CF, strict=True):
        values, indices = a_F.sort(descending=True)
        assert [index for index, _ in told] == indices[:LATENTS_A_TOKEN].tolist()
        torch.testing.assert_close(torch.tensor([value for _, value in told]), values[:LATENTS_A_TOKEN])


def test_an_sae_of_another_width_is_refused(params):
    asked, _, _ = params
    wrong = {**asked["sae"], "hook_name": "lm_head"}
    with pytest.raises(WorkerError, match="64 wide"):
        read_prompt({**asked, "sae": wrong}, Listener())
