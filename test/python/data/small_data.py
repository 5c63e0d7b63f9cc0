"""Real things to run the data path on: a word tokenizer, a small torch model, texts, a complete config."""

import json
from pathlib import Path

import msgspec
import numpy as np
import torch
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


def make_config(**changes) -> LanguageModelSAERunnerConfig:
    """A complete config of small numbers; ``changes`` are its top-level keys."""
    config = {
        "sae": {
            "architecture": "topk", "vocabulary": "v6", "d_in": 6, "d_sae": 12, "expansion_factor": None,
            "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none", "decoder_init_norm": 0.1, "decoder_heuristic_init": False,
            "decoder_heuristic_init_norm": 0.1, "decoder_orthogonal_init": False,
            "init_encoder_as_decoder_transpose": True, "normalize_sae_decoder": False,
            "mse_loss_normalization": None, "b_dec_init_method": "zeros", "noise_scale": 0.0, "k": 4,
            "use_sparse_activations": False, "kernels": "auto", "two_stage_selection": False,
            "aux_loss_coefficient": 1.0,
            "rescale_acts_by_decoder_norm": True,
        },
        "model_name": "small", "model_class_name": "AutoModelForCausalLM", "hook_name": "mix",
        "hook_head_index": None, "model_kwargs": {}, "model_from_pretrained_kwargs": {},
        "dataset_path": "", "dataset_name": None, "dataset_split": "train", "dataset_column": None,
        "dataset_trust_remote_code": False, "eval_dataset_path": None, "eval_dataset_split": "train",
        "streaming": False, "is_dataset_tokenized": None, "use_chat_formatting": False, "context_size": 8,
        "prepend_bos": True, "disable_concat_sequences": False, "sequence_separator_token": "bos",
        "exclude_special_tokens": False, "seqpos_slice": [None], "on_data_end": "repeat",
        "n_batches_in_buffer": 4, "store_batch_size_prompts": 4, "activations_mixing_fraction": 0.5,
        "n_batches_for_norm_estimate": 5, "prefetch_llm_batches": 0, "use_cached_activations": False,
        "cached_activations_path": None, "device": "cpu", "llm_device": "cpu", "act_store_device": "cpu",
        "dtype": "float32", "autocast": False, "autocast_lm": False, "compile_sae": False,
        "sae_compilation_mode": None, "compile_llm": False, "llm_compilation_mode": None, "seed": 42,
        "n_threads": None, "training_tokens": 640, "train_batch_size_tokens": 32, "finetuning_tokens": 0,
        "finetuning_method": None, "from_pretrained_path": None, "lr": 1e-3, "lr_end": 1e-4,
        "lr_scheduler_name": "constant", "lr_warm_up_steps": 0, "lr_decay_steps": 0, "n_restart_cycles": 1,
        "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8, "max_grad_norm": 1.0,
        "dead_feature_window": 100, "feature_sampling_window": 100, "dead_feature_threshold": 1e-8,
        "n_eval_batches": 0, "eval_batch_size_prompts": 4,
        "logger": {
            "log_to_wandb": False, "log_activations_store_to_wandb": False,
            "log_optimizer_state_to_wandb": False, "log_weights_to_wandb": False, "wandb_project": "p",
            "wandb_id": None, "run_name": None, "wandb_entity": None, "wandb_log_frequency": 10,
            "eval_every_n_wandb_logs": 100,
        },
        "n_checkpoints": 0, "checkpoint_path": None, "save_final_checkpoint": False, "output_path": None,
        "resume_from_checkpoint": None, "verbose": False, "profile": False,
    }  # fmt: skip
    # checked where the contract may have grown by a key this file does not know
    known = {field.name for field in msgspec.structs.fields(LanguageModelSAERunnerConfig)}
    assert not set(changes) - known, "no such option"
    return msgspec.convert(config | changes, LanguageModelSAERunnerConfig)
