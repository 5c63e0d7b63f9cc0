"""Tiny random models with a tokenizer, for tests that need no fixtures."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

VOCAB = 64
_COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
_GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 32}
CONFIGS = {
    "LlamaForCausalLM": LlamaConfig(num_key_value_heads=2, **_COMMON),
    "MistralForCausalLM": MistralConfig(num_key_value_heads=2, head_dim=8, **_COMMON),
    "Qwen2ForCausalLM": Qwen2Config(num_key_value_heads=2, **_COMMON),
    "Qwen3ForCausalLM": Qwen3Config(num_key_value_heads=2, head_dim=8, **_COMMON),
    "Gemma2ForCausalLM": Gemma2Config(num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8, **_COMMON),
    "GPTNeoXForCausalLM": GPTNeoXConfig(**_COMMON),
    "GPTNeoForCausalLM": GPTNeoConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "GPT2LMHeadModel": GPT2Config(bos_token_id=1, eos_token_id=2, **_GPT2),
}


def save_tiny_model(folder: Path, architecture: str = "LlamaForCausalLM") -> Path:
    """A random model of the architecture and a word-level tokenizer of 64 words, as a Hugging Face folder."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture])
    for parameter in model.parameters():
        # Larger than the library's init, so that layers differ visibly.
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, VOCAB)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return folder
