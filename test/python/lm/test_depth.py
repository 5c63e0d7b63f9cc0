"""Where nothing but activations is asked for, no layer above the hook is loaded; the activations are the same."""

import pytest
import torch
from tiny_models import CONFIGS, save_tiny_model

from pyworker.lm.load import LanguageModelConfig, load_language_model

TOKENS = torch.randint(3, 64, (3, 30), generator=torch.Generator().manual_seed(0))
LAYERS = {
    "GPT2LMHeadModel": "transformer.h",
    "GPTNeoForCausalLM": "transformer.h",
    "GPTNeoXForCausalLM": "gpt_neox.layers",
}


def load(folder, hook_name, model_class_name, last_hook):
    config = LanguageModelConfig(
        model_name=str(folder), model_class_name=model_class_name, hook_name=hook_name
    )
    return load_language_model(config, last_hook)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("lens", [False, True])
def test_the_activations_are_those_of_the_whole_model(architecture, lens, tmp_path):
    folder = save_tiny_model(tmp_path, architecture)
    kind = "HookedTransformer" if lens else "AutoModelForCausalLM"
    layers = LAYERS.get(architecture, "model.layers")
    hook_name = "blocks.0.hook_resid_post" if lens else f"{layers}.0"
    whole, cut = (load(folder, hook_name, kind, last) for last in (None, hook_name))
    assert len(list(whole._backend.layers())) > 1
    assert len(list(cut._backend.layers())) == 1
    assert torch.equal(cut.activations(TOKENS), whole.activations(TOKENS))


@pytest.mark.parametrize("hook_name", ["lm_head", "model.norm", "model.layers.7", "model.layers"])
def test_a_hook_in_no_layer_loads_them_all(tiny, hook_name):
    assert len(list(load(tiny, hook_name, "AutoModelForCausalLM", hook_name)._backend.layers())) == 3


def test_a_hook_that_a_bridge_has_loads_them_all(tiny):
    model = load(tiny, "blocks.1.mlp.hook_in", "HookedTransformer", "blocks.1.mlp.hook_in")
    assert len(list(model._backend.layers())) == 3
