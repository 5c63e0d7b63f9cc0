"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Any, Literal

import msgspec

NormalizeActivations = Literal[
    "none", "expected_average_only_in", "constant_norm_rescale", "layer_norm", "covariance_whitening"
]
Dtype = Literal["float32", "bfloat16", "float16", "float64"]


class TrainingSAEConfig(msgspec.Struct, forbid_unknown_fields=True, tag_field="architecture", kw_only=True):
    """Fields every architecture has."""

    vocabulary: Literal["v5", "v6"]
    d_in: int | None
    d_sae: int | None
    expansion_factor: int | None
    dtype: Dtype
    device: str
    apply_b_dec_to_input: bool
    normalize_activations: NormalizeActivations
    reshape_activations: Literal["none", "hook_z"]
    decoder_init_norm: float | None
    decoder_heuristic_init: bool
    decoder_heuristic_init_norm: float
    decoder_orthogonal_init: bool
    init_encoder_as_decoder_transpose: bool
    normalize_sae_decoder: bool
    mse_loss_normalization: Literal["dense_batch"] | None
    b_dec_init_method: Literal["zeros", "mean", "geometric_median"]
    noise_scale: float


class StandardTrainingSAEConfig(TrainingSAEConfig, tag="standard", forbid_unknown_fields=True, kw_only=True):
    activation_fn: Literal["relu", "tanh-relu", "topk", "gelu"]
    activation_fn_kwargs: dict[str, Any]
    l1_coefficient: float
    lp_norm: float
    l1_warm_up_steps: int
    scale_sparsity_penalty_by_decoder_norm: bool
    use_ghost_grads: bool


class GatedTrainingSAEConfig(TrainingSAEConfig, tag="gated", forbid_unknown_fields=True, kw_only=True):
    l1_coefficient: float
    l1_warm_up_steps: int


class JumpReLUTrainingSAEConfig(TrainingSAEConfig, tag="jumprelu", forbid_unknown_fields=True, kw_only=True):
    jumprelu_init_threshold: float
    jumprelu_bandwidth: float
    jumprelu_sparsity_loss_mode: Literal["step", "tanh", "quadratic"]
    l0_coefficient: float
    l0_warm_up_steps: int
    pre_act_loss_coefficient: float | None
    jumprelu_tanh_scale: float
    jumprelu_ste_to_input: bool
    target_l0: float | None


class TopKTrainingSAEConfig(TrainingSAEConfig, tag="topk", forbid_unknown_fields=True, kw_only=True):
    k: int
    use_sparse_activations: bool
    aux_loss_coefficient: float
    rescale_acts_by_decoder_norm: bool


AnyTrainingSAEConfig = (
    StandardTrainingSAEConfig | GatedTrainingSAEConfig | JumpReLUTrainingSAEConfig | TopKTrainingSAEConfig
)


class LoggingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    log_to_wandb: bool
    log_activations_store_to_wandb: bool
    log_optimizer_state_to_wandb: bool
    log_weights_to_wandb: bool
    wandb_project: str
    wandb_id: str | None
    run_name: str | None
    wandb_entity: str | None
    wandb_log_frequency: int
    eval_every_n_wandb_logs: int


class LanguageModelSAERunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    sae: AnyTrainingSAEConfig
    # language model
    model_name: str
    model_class_name: Literal["HookedTransformer", "AutoModelForCausalLM"]
    hook_name: str
    hook_head_index: int | None
    model_kwargs: dict[str, Any]
    model_from_pretrained_kwargs: dict[str, Any]
    # data
    dataset_path: str
    dataset_name: str | None
    dataset_split: str
    dataset_column: str | None
    dataset_trust_remote_code: bool
    eval_dataset_path: str | None
    eval_dataset_split: str
    streaming: bool
    is_dataset_tokenized: bool | None
    use_chat_formatting: bool
    context_size: int
    prepend_bos: bool
    disable_concat_sequences: bool
    sequence_separator_token: int | Literal["bos", "eos", "sep"] | None
    exclude_special_tokens: bool | list[int]
    seqpos_slice: list[int | None]
    on_data_end: Literal["repeat", "stop"]
    # activations
    n_batches_in_buffer: int
    store_batch_size_prompts: int
    activations_mixing_fraction: float
    n_batches_for_norm_estimate: int
    prefetch_llm_batches: int
    use_cached_activations: bool
    cached_activations_path: str | None
    # devices and numerics
    device: str
    llm_device: str
    act_store_device: str
    dtype: Dtype
    autocast: bool
    autocast_lm: bool
    compile_sae: bool
    sae_compilation_mode: str | None
    compile_llm: bool
    llm_compilation_mode: str | None
    seed: int
    n_threads: int | None
    # training
    training_tokens: int
    train_batch_size_tokens: int
    finetuning_tokens: int
    finetuning_method: Literal["scale", "decoder", "unrotated_decoder"] | None
    from_pretrained_path: str | None
    lr: float
    lr_end: float
    lr_scheduler_name: Literal["constant", "cosineannealing", "cosineannealingwarmrestarts"]
    lr_warm_up_steps: int
    lr_decay_steps: int
    n_restart_cycles: int
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float | None
    dead_feature_window: int
    feature_sampling_window: int
    dead_feature_threshold: float
    # evaluation, logging, artifacts
    n_eval_batches: int
    eval_batch_size_prompts: int
    logger: LoggingConfig
    n_checkpoints: int
    checkpoint_path: str | None
    save_final_checkpoint: bool
    output_path: str | None
    resume_from_checkpoint: str | None
    verbose: bool
