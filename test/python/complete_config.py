"""A complete configuration for tests and benchmarks, as it crosses the border. Needs no pytest."""

from typing import Any

import msgspec

from pyworker.protocol.config import LanguageModelSAERunnerConfig

SAE_FIELDS: dict[str, Any] = {
    "vocabulary": "v6",
    "d_in": 8,
    "d_sae": 32,
    "expansion_factor": None,
    "dtype": "float32",
    "device": "cpu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "decoder_init_norm": 0.1,
    "decoder_heuristic_init": False,
    "decoder_heuristic_init_norm": 0.1,
    "decoder_orthogonal_init": False,
    "init_encoder_as_decoder_transpose": True,
    "normalize_sae_decoder": False,
    "mse_loss_normalization": None,
    "b_dec_init_method": "zeros",
    "noise_scale": 0.0,
    "kernels": "auto",
}

ARCHITECTURE_FIELDS: dict[str, dict[str, Any]] = {
    "standard": {
        "activation_fn": "relu",
        "activation_fn_kwargs": {},
        "l1_coefficient": 1.0,
        "lp_norm": 1.0,
        "l1_warm_up_steps": 0,
        "scale_sparsity_penalty_by_decoder_norm": True,
        "use_ghost_grads": False,
    },
    "gated": {"l1_coefficient": 1.0, "l1_warm_up_steps": 0},
    "jumprelu": {
        "jumprelu_init_threshold": 0.01,
        "jumprelu_bandwidth": 0.05,
        "jumprelu_sparsity_loss_mode": "step",
        "l0_coefficient": 0.1,
        "l0_warm_up_steps": 0,
        "pre_act_loss_coefficient": None,
        "jumprelu_tanh_scale": 4.0,
        "jumprelu_ste_to_input": False,
        "target_l0": None,
    },
    "topk": {
        "k": 4,
        "use_sparse_activations": False,
        "aux_loss_coefficient": 1.0,
        "rescale_acts_by_decoder_norm": True,
    },
}

ARCHITECTURE_FIELDS["batchtopk"] = {**ARCHITECTURE_FIELDS["topk"], "k": 3.5, "topk_threshold_lr": 0.01}
ARCHITECTURE_FIELDS["matryoshka_batchtopk"] = {
    **ARCHITECTURE_FIELDS["batchtopk"],
    "matryoshka_widths": [4, 12],
    "use_matryoshka_aux_loss": False,
}
ARCHITECTURE_FIELDS["topk"]["two_stage_selection"] = False

RUN_FIELDS: dict[str, Any] = {
    "model_name": "tiny",
    "model_class_name": "HookedTransformer",
    "hook_name": "blocks.0.hook_resid_post",
    "hook_head_index": None,
    "model_kwargs": {},
    "model_from_pretrained_kwargs": {},
    "dataset_path": "text",
    "dataset_name": None,
    "dataset_split": "train",
    "dataset_column": None,
    "dataset_trust_remote_code": False,
    "eval_dataset_path": None,
    "eval_dataset_split": "train",
    "streaming": True,
    "is_dataset_tokenized": None,
    "use_chat_formatting": False,
    "context_size": 16,
    "prepend_bos": True,
    "disable_concat_sequences": False,
    "sequence_separator_token": "bos",
    "exclude_special_tokens": False,
    "seqpos_slice": [None],
    "on_data_end": "stop",
    "n_batches_in_buffer": 20,
    "store_batch_size_prompts": 32,
    "activations_mixing_fraction": 0.5,
    "n_batches_for_norm_estimate": 4,
    "prefetch_llm_batches": 0,
    "use_cached_activations": False,
    "skip_bad_shards": False,
    "cached_activations_path": None,
    "device": "cpu",
    "llm_device": "cpu",
    "act_store_device": "cpu",
    "dtype": "float32",
    "autocast": False,
    "autocast_lm": False,
    "compile_sae": False,
    "sae_compilation_mode": None,
    "compile_llm": False,
    "llm_compilation_mode": None,
    "seed": 42,
    "n_threads": None,
    "training_tokens": 640,
    "train_batch_size_tokens": 64,
    "finetuning_tokens": 0,
    "finetuning_method": None,
    "from_pretrained_path": None,
    "lr": 1e-3,
    "lr_end": 1e-4,
    "lr_scheduler_name": "constant",
    "lr_warm_up_steps": 0,
    "lr_decay_steps": 0,
    "n_restart_cycles": 1,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 1.0,
    "stop_on_loss_explosion": False,
    "dead_feature_window": 1000,
    "feature_sampling_window": 4,
    "dead_feature_threshold": 1e-8,
    "n_eval_batches": 1,
    "eval_batch_size_prompts": 4,
    "n_checkpoints": 0,
    "checkpoint_every": None,
    "keep_checkpoints": 2,
    "checkpoints_in_background": True,
    "rescue_dir": None,
    "checkpoint_path": None,
    "save_final_checkpoint": False,
    "output_path": None,
    "resume_from_checkpoint": None,
    "verbose": False,
    "profile": False,
    "logger": {
        "log_to_wandb": False,
        "log_activations_store_to_wandb": False,
        "log_optimizer_state_to_wandb": False,
        "log_weights_to_wandb": False,
        "wandb_project": "p",
        "wandb_id": None,
        "run_name": None,
        "wandb_entity": None,
        "wandb_log_frequency": 2,
        "eval_every_n_wandb_logs": 2,
    },
}


def config_for(architecture: str = "standard", run: dict[str, Any] | None = None, **sae: Any):
    """A complete configuration; ``sae`` and ``run`` replace values."""
    fields = {"architecture": architecture, **SAE_FIELDS, **ARCHITECTURE_FIELDS[architecture], **sae}
    unknown = set(sae) - set(SAE_FIELDS) - set(ARCHITECTURE_FIELDS[architecture])
    assert not unknown, unknown
    return msgspec.convert({**RUN_FIELDS, **(run or {}), "sae": fields}, LanguageModelSAERunnerConfig)
