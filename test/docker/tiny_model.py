"""A language model, its tokenizer and a text, made on the spot: ``python tiny_model.py FOLDER``."""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SENTENCES = [f"The {noun} {verb} number {i} of the day." for i in range(40)
             for noun in ("cat", "river", "queen") for verb in ("counts", "crosses", "forgets")]  # fmt: skip

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
(folder / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in SENTENCES))

bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bpe.train_from_iterator(SENTENCES, trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"]))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
tokenizer.save_pretrained(folder / "model")

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder / "model")
