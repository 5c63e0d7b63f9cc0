"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Any, Literal

import msgspec

from pyworker.protocol.sae_config import AnyTrainingSAEConfig, Dtype


class LoggingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is logged, where and how often."""

    log_to_wandb: bool
    """Send metrics to Weights & Biases."""
    log_activations_store_to_wandb: bool
    """Add the state of the activation store to the W&B artifact of each checkpoint."""
    log_optimizer_state_to_wandb: bool
    """Add the state of the optimizer to the W&B artifact of each checkpoint."""
    log_weights_to_wandb: bool
    """Add the weights to the W&B artifact of each checkpoint."""
    wandb_project: str
    """W&B project."""
    wandb_id: str | None
    """W&B run id."""
    run_name: str | None
    """Name of the run in W&B."""
    wandb_entity: str | None
    """W&B user or team."""
    wandb_log_frequency: int
    """Steps between two rows of metrics, with or without W&B. Unit: steps."""
    eval_every_n_wandb_logs: int
    """Rows of metrics between two evaluations. Unit: rows."""


class LanguageModelSAERunnerConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A training run."""

    sae: AnyTrainingSAEConfig
    # language model
    model_name: str
    """Language model: a name TransformerLens or Hugging Face knows, a folder, or bundled:NAME."""
    model_class_name: Literal["HookedTransformer", "AutoModelForCausalLM"]
    """How the model is loaded, and so what its hook points are called."""
    hook_name: str
    """Hook point whose activations the SAE learns."""
    hook_head_index: int | None
    """Take one attention head of the hook."""
    model_kwargs: dict[str, Any]
    """Arguments of every forward pass of the model."""
    model_from_pretrained_kwargs: dict[str, Any]
    """Arguments for loading the model."""
    # data
    dataset_path: str
    """Dataset: a Hugging Face name, a local folder or file, or bundled:NAME."""
    dataset_name: str | None
    """Configuration of the dataset."""
    dataset_split: str
    """Split to train on."""
    dataset_column: str | None
    """Column with the text or the tokens."""
    dataset_trust_remote_code: bool
    """Allow code that comes with the dataset to run here."""
    eval_dataset_path: str | None
    """Dataset for evaluations."""
    eval_dataset_split: str
    """Split of eval_dataset_path; without that one, another split of dataset_path to evaluate on."""
    streaming: bool
    """Read the dataset while training, without a download first."""
    is_dataset_tokenized: bool | None
    """Insist that the dataset holds tokens (true) or text (false)."""
    use_chat_formatting: bool
    """Format conversations with the tokenizer's chat template."""
    context_size: int
    """Length of the sequences the model reads. Unit: tokens."""
    prepend_bos: bool
    """Start each sequence with the BOS token."""
    disable_concat_sequences: bool
    """One document a sequence; shorter documents are left out."""
    sequence_separator_token: int | Literal["bos", "eos", "sep"] | None
    """Token between two documents of a sequence: an id, bos, eos, sep or null."""
    exclude_special_tokens: bool | list[int]
    """Leave out activations of special tokens: all of them (true), or those of a list of ids."""
    seqpos_slice: list[int | None]
    """Positions to train on, as the arguments of a Python slice. Unit: tokens."""
    on_data_end: Literal["repeat", "stop"]
    """At the end of the dataset start over, or stop with a complete SAE."""
    # activations
    n_batches_in_buffer: int
    """Size of the mixing buffer, in batches of the language model. Unit: model batches."""
    store_batch_size_prompts: int
    """Sequences in one forward pass of the language model. Unit: prompts."""
    activations_mixing_fraction: float
    """Share of the buffer that is kept back for mixing; 0 means no shuffling, and of a cache the order on
    disk.
    """
    n_batches_for_norm_estimate: int
    """Training batches read to estimate the scale of the activations. Unit: batches."""
    prefetch_llm_batches: int
    """Batches of the language model computed ahead; true is 1. Unit: model batches."""
    use_cached_activations: bool
    """Read activations from a cache on disk. Without a dataset_path or eval_dataset_path no language model
    is loaded.
    """
    cached_activations_path: str | None
    """Folder of the cache, of sae-lens-ts cache-activations or of SAELens."""
    skip_bad_shards: bool
    """Leave out shards of the cache that are missing, cut or damaged, and say how many tokens that loses,
    instead of ending. A cache of SAELens has no checksums to tell them by.
    """
    # devices and numerics
    device: str
    """Device for training: auto, cpu, mps, cuda or cuda:N."""
    llm_device: str
    """Device of the language model."""
    act_store_device: str
    """Device of the activation buffer; with_model is llm_device."""
    dtype: Dtype
    """Number type of the SAE and of its activations."""
    autocast: bool
    """bfloat16 arithmetic in the SAE."""
    autocast_lm: bool
    """bfloat16 arithmetic in the language model."""
    compile_sae: bool
    """Compile the training step of the SAE."""
    sae_compilation_mode: str | None
    """Mode of torch.compile for the SAE."""
    compile_llm: bool
    """Compile the language model."""
    llm_compilation_mode: str | None
    """Mode of torch.compile for the model."""
    seed: int
    """Seed of initialization and of the order of the data."""
    n_threads: int | None
    """CPU threads of torch."""
    # training
    training_tokens: int
    """Tokens to train on. Unit: tokens."""
    train_batch_size_tokens: int
    """Activations in one training step. Unit: tokens."""
    finetuning_tokens: int
    """Tokens of a second phase that trains only what finetuning_method names. Unit: tokens."""
    finetuning_method: Literal["scale", "decoder", "unrotated_decoder"] | None
    """What the second phase trains."""
    from_pretrained_path: str | None
    """SAE folder whose weights to start from, or `hub:user/repo/folder[@revision]`."""
    lr: float
    """Learning rate of Adam."""
    lr_end: float
    """Learning rate at the end of a cosine schedule, where the final decay begins."""
    lr_scheduler_name: Literal["constant", "cosineannealing", "cosineannealingwarmrestarts"]
    """Shape of the learning rate between warm-up and decay."""
    lr_warm_up_steps: int
    """Steps of linear warm-up. Unit: steps."""
    lr_decay_steps: int
    """Steps of linear decay to 0 at the end. Unit: steps."""
    n_restart_cycles: int
    """Cycles of cosineannealingwarmrestarts. Unit: cycles."""
    adam_beta1: float
    """Decay of the first moment of Adam."""
    adam_beta2: float
    """Decay of the second moment of Adam."""
    adam_epsilon: float
    """Epsilon of Adam."""
    max_grad_norm: float | None
    """Norm that gradients are clipped to; null does not clip."""
    stop_on_loss_explosion: bool
    """End the run before a step whose loss is more than 100 times its running median, instead of a warning.
    It is looked at in every step, for which a GPU waits.
    """
    dead_feature_window: int
    """Steps without firing after which a latent counts as dead. Unit: steps."""
    feature_sampling_window: int
    """Steps over which firing frequencies are counted. Unit: steps."""
    dead_feature_threshold: float
    """A latent that fired on a smaller share of the samples of the last and the current sampling window is
    also dead. Counts only once these are more than 1 / threshold samples; the default leaves
    dead_feature_window alone to judge.
    """
    # evaluation, logging and artifacts
    n_eval_batches: int
    """Batches of one evaluation. 0 evaluates nothing; then layers above the hook are not even loaded, where
    the architecture is known. Unit: batches.
    """
    eval_batch_size_prompts: int
    """Sequences in one batch of an evaluation. Unit: prompts."""
    logger: LoggingConfig
    n_checkpoints: int
    """Checkpoints, at equal distances."""
    checkpoint_every: int | str | None
    """Checkpoints to resume from, besides those of n_checkpoints: after so many tokens, or so many minutes
    ("10min"). Only the newest are kept, and none is sent to W&B.
    """
    keep_checkpoints: int
    """So many of the checkpoints that checkpoint_every asks for are kept; all others stay."""
    checkpoints_in_background: bool
    """Write checkpoints from a copy in memory while training goes on; without it, training waits."""
    checkpoint_path: str | None
    """Folder for checkpoints; the run adds a folder with its name."""
    rescue_dir: str | None
    """Where the output or the last checkpoint goes when its own disk is full; the run adds its name."""
    save_final_checkpoint: bool
    """Write a checkpoint at the end too."""
    output_path: str | None
    """Folder of the finished SAE."""
    resume_from_checkpoint: str | None
    """Checkpoint of another run, or of the training of SAELens, to go on from, in a new run; `resume` goes
    on in the run itself.
    """
    verbose: bool
    """Say more in the log."""
    profile: bool
    """Measure where the time of the steps goes, and say it at the end."""
