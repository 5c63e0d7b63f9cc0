"""Real things to run the data path on: a word tokenizer, a small torch model, texts, a complete config."""

import json
from pathlib import Path

import numpy as np
import torch
from complete_config import config_for
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pyworker.protocol.config import LanguageModelSAERunnerConfig

N_WORDS = 40


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Ids 0 to 3 are BOS, EOS, UNK, PAD; 4 and up the words w0, w1, …; as in golden/v6/tokenization.json."""
    words = ["<bos>", "<eos>", "<unk>", "<pad>", *(f"w{i}" for i in range(N_WORDS))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
    )


def write_texts(path: Path, n_texts: int, seed: int = 0) -> str:
    """Texts of 3 to 20 words, some of them empty."""
    draw = np.random.default_rng(seed)
    rows = []
    for i in range(n_texts):
        words = draw.integers(0, N_WORDS, size=draw.integers(3, 20))
        rows.append({"text": "" if i % 9 == 5 else " ".join(f"w{word}" for word in words)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class SmallVocabulary:
    """What opening a dataset needs of a model."""

    def __init__(self):
        self.tokenizer = word_tokenizer()
        self.vocab_size = len(self.tokenizer)
        self.bos_token_id, self.eos_token_id, self.sep_token_id = 0, 1, None


class SmallModel(torch.nn.Module):
    """A causal model in the shape of the seam: each position is a function of the tokens up to it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, d_model: int = 6):
        super().__init__()
        torch.manual_seed(0)
        self.tokenizer = tokenizer
        self.vocab_size = len(tokenizer)
        self.bos_token_id, self.eos_token_id, self.sep_token_id = 0, 1, None
        self.embed = torch.nn.Embedding(self.vocab_size, d_model)
        self.mix = torch.nn.GRU(d_model, d_model, batch_first=True)
        self.n_calls = 0
        self.shapes: set[tuple[int, ...]] = set()

    @torch.no_grad()
    def activations(self, tokens_PC: torch.Tensor) -> torch.Tensor:
        self.n_calls += 1
        self.shapes.add(tuple(tokens_PC.shape))
        return self.mix(self.embed(tokens_PC))[0]

    def special_token_ids(self) -> list[int]:
        return [0, 1, 2, 3]


SMALL = {
    "model_name": "small",
    "model_class_name": "AutoModelForCausalLM",
    "hook_name": "mix",
    "dataset_path": "",
    "streaming": False,
    "context_size": 8,
    "on_data_end": "repeat",
    "n_batches_in_buffer": 4,
    "store_batch_size_prompts": 4,
    "n_batches_for_norm_estimate": 5,
    "train_batch_size_tokens": 32,
    "dead_feature_window": 100,
    "feature_sampling_window": 100,
    "n_eval_batches": 0,
}


def make_config(**changes) -> LanguageModelSAERunnerConfig:
    """A complete config of small numbers; ``changes`` are its top-level keys."""
    return config_for("topk", {**SMALL, **changes}, d_in=6, d_sae=12)
