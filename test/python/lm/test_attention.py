"""Narrow heads and linear layers are computed faster on a CPU, with the values that transformers' own way gives."""

import pytest
import torch
from tiny_models import CONFIGS, save_tiny_model
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from pyworker.lm.attention import NAME, causal_attention
from pyworker.lm.linear import FrozenLinear, freeze_linear_layers
from pyworker.lm.load import LanguageModelConfig, load_language_model

BY_ATTENTION_OF_TORCH = [
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "GPTNeoXForCausalLM",
    "GPT2LMHeadModel",
]
TOKENS = torch.randint(3, 64, (3, 30), generator=torch.Generator().manual_seed(0))


def load(folder, **kwargs):
    return load_language_model(
        LanguageModelConfig(
            model_name=str(folder),
            model_class_name="AutoModelForCausalLM",
            model_from_pretrained_kwargs=kwargs,
        )
    )


@pytest.mark.parametrize("n_tokens", [1, 7, 32, 33, 100, 256])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
def test_attention_is_that_of_torch(n_tokens, heads, groups):
    generator = torch.Generator().manual_seed(1)
    # As transformers hands them over: heads after tokens in memory.
    query, key, value = (
        torch.randn(2, n_tokens, n, 8, generator=generator).transpose(1, 2) for n in (heads, groups, groups)
    )
    ours = causal_attention(query, key, value, 0.4)
    torchs = scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.4, enable_gqa=True)
    torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_model_gives_the_values_it_gives_without(architecture, tmp_path):
    folder = save_tiny_model(tmp_path, architecture)
    faster, torchs = load(folder), load(folder, attn_implementation="eager")
    taken = faster._backend.config._attn_implementation == NAME
    assert taken == (architecture in BY_ATTENTION_OF_TORCH)
    assert torchs._backend.config._attn_implementation == "eager"
    torch.testing.assert_close(faster.logits(TOKENS), torchs.logits(TOKENS), rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "GPT2LMHeadModel"])
@torch.no_grad()
def test_what_is_padded_is_not_looked_at(architecture, tmp_path):
    model = load(save_tiny_model(tmp_path, architecture))._backend.model
    assert model.config._attn_implementation == NAME
    mask = torch.ones_like(TOKENS)
    mask[0, :9] = 0
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    alone = model(input_ids=TOKENS[:1, 9:]).logits
    for filling in (3, 4):
        tokens = TOKENS.clone()
        tokens[0, :9] = filling
        padded = model(input_ids=tokens, attention_mask=mask, position_ids=places).logits
        torch.testing.assert_close(padded[:1, 9:], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_window_of_attention_holds(tmp_path):
    folder = save_tiny_model(tmp_path, "MistralForCausalLM")
    windowed = load(folder, sliding_window=4)._backend.model
    assert windowed.config._attn_implementation == NAME
    other = TOKENS.clone()
    other[:, 0] = 5 + (other[:, 0] == 5).long()
    # Three layers of a window of 4 reach 9 tokens back.
    ours, moved = (windowed.model(input_ids=tokens).last_hidden_state for tokens in (TOKENS, other))
    torch.testing.assert_close(ours[:, 10:], moved[:, 10:], rtol=0, atol=0)
    assert not torch.equal(ours[:, :9], moved[:, :9])


@torch.no_grad()
def test_a_cache_of_keys_gives_the_same_logits(tiny):
    model = load(tiny)._backend.model
    whole = model(input_ids=TOKENS).logits
    start = model(input_ids=TOKENS[:, :20], use_cache=True)
    rest = model(input_ids=TOKENS[:, 20:], past_key_values=start.past_key_values, use_cache=True).logits
    torch.testing.assert_close(torch.cat((start.logits, rest), dim=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kwargs", [{"attn_implementation": "sdpa"}, {"dtype": "bfloat16"}])
def test_another_way_that_was_asked_for_is_taken(tiny, kwargs):
    assert load(tiny, **kwargs)._backend.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12), (12,)])
def test_a_frozen_layer_gives_the_values_of_a_plain_one(bias, shape):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(12, 7, bias))
    x = torch.randn(shape)
    plain = layer(x).detach()
    freeze_linear_layers(layer)
    assert type(layer[0]) is FrozenLinear
    assert layer(x).requires_grad  # where gradients are wanted they are there
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain)
        torch.testing.assert_close(layer.double()(x.double()), plain.double())
        layer.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16


def test_the_layers_of_a_loaded_model_are_frozen_ones(tiny):
    layers = [m for m in load(tiny)._backend.model.modules() if isinstance(m, nn.Linear)]
    assert layers and {type(layer) for layer in layers} == {FrozenLinear}
