"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by `npm run generate`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is ``null``, unknown keys are refused.
"""

from typing import Any, Literal

import msgspec

Dtype = Literal["float32", "bfloat16", "float16", "float64"]
NormalizeActivations = Literal[
    "none", "expected_average_only_in", "constant_norm_rescale", "layer_norm", "covariance_whitening"
]
Kernels = Literal["auto", "dense", "sparse", "measured"]


class TrainingSAEConfig(msgspec.Struct, forbid_unknown_fields=True, tag_field="architecture", kw_only=True):
    """Fields every architecture has."""

    vocabulary: Literal["v5", "v6"]
    """Which SAELens generation decides what has no option of its own: how JumpReLU stores its threshold,
    whether the top-k auxiliary loss decodes with b_dec, how the norm estimate averages, the order of random
    draws.
    """
    d_in: int | None
    """Width of the activations at hook_name."""
    d_sae: int | None
    """Number of latents."""
    expansion_factor: int | None
    """Number of latents as a multiple of d_in; instead of d_sae."""
    dtype: Dtype
    """Number type of the SAE weights."""
    device: str
    """Device of the SAE."""
    apply_b_dec_to_input: bool
    """Subtract the decoder bias from the input before encoding."""
    normalize_activations: NormalizeActivations
    """How activations are normalized before they enter the SAE."""
    reshape_activations: Literal["none", "hook_z"]
    """hook_z flattens the heads of an attention output."""
    decoder_init_norm: float | None
    """Norm that the rows of a Kaiming-uniform decoder are scaled to at the start; null leaves them as drawn.
    """
    decoder_heuristic_init: bool
    """Draw the decoder from N(0, 1) and scale its rows to decoder_heuristic_init_norm."""
    decoder_heuristic_init_norm: float
    """Row norm for decoder_heuristic_init."""
    decoder_orthogonal_init: bool
    """Start from a decoder with orthonormal columns."""
    init_encoder_as_decoder_transpose: bool
    """Start the encoder as the transpose of the decoder."""
    normalize_sae_decoder: bool
    """Keep the rows of the decoder at unit norm, at the start and before every step."""
    mse_loss_normalization: Literal["dense_batch"] | None
    """dense_batch divides the squared error of a row by the norm of its distance from the batch mean."""
    b_dec_init_method: Literal["zeros", "mean", "geometric_median"]
    """Start of the decoder bias: zeros, or the mean or geometric median of a buffer of activations."""
    noise_scale: float
    """Standard deviation of Gaussian noise added to the pre-activations while training."""
    kernels: Kernels
    """How a training step works: sparse keeps only the latents of each row that matter, dense a matrix of
    all. The same sums in another order. auto takes sparse where it is faster, on a CPU in float32 or float64
    without noise and compilation: with a fixed k from 8 latents for each active one, else dense until the
    measured density is small. On CUDA, with a fixed k in float32, from 40, with autocast from 300: by
    arithmetic, no GPU was measured. measured times both at this shape on this machine, once: what it found
    is kept, so that later runs here choose alike; on another machine they may not.
    """


class StandardTrainingSAEConfig(TrainingSAEConfig, tag="standard", forbid_unknown_fields=True, kw_only=True):
    """Fields of the standard architecture."""

    activation_fn: Literal["relu", "tanh-relu", "topk", "gelu"]
    """Activation function of the latents."""
    activation_fn_kwargs: dict[str, Any]
    """Arguments of the activation function: {"k": 100} for topk."""
    l1_coefficient: float
    """Weight of the sparsity penalty."""
    lp_norm: float
    """The p of the L_p norm in the sparsity penalty."""
    l1_warm_up_steps: int
    """Steps over which l1_coefficient grows from 0. Unit: steps."""
    scale_sparsity_penalty_by_decoder_norm: bool
    """Weight each latent in the sparsity penalty by the norm of its decoder row."""
    use_ghost_grads: bool
    """Give dead latents a gradient from the error that is left over."""


class GatedTrainingSAEConfig(TrainingSAEConfig, tag="gated", forbid_unknown_fields=True, kw_only=True):
    """Fields of the gated architecture."""

    l1_coefficient: float
    """Weight of the sparsity penalty."""
    l1_warm_up_steps: int
    """Steps over which l1_coefficient grows from 0. Unit: steps."""


class JumpReLUTrainingSAEConfig(TrainingSAEConfig, tag="jumprelu", forbid_unknown_fields=True, kw_only=True):
    """Fields of the jumprelu architecture."""

    jumprelu_init_threshold: float
    """Threshold of every latent at the start."""
    jumprelu_bandwidth: float
    """Width of the window in which a threshold receives a gradient."""
    jumprelu_sparsity_loss_mode: Literal["step", "tanh", "quadratic"]
    """Form of the sparsity penalty."""
    l0_coefficient: float
    """Weight of the sparsity penalty."""
    l0_warm_up_steps: int
    """Steps over which l0_coefficient grows from 0. Unit: steps."""
    pre_act_loss_coefficient: float | None
    """Weight of a loss that pulls the pre-activations of dead latents up; null leaves it out."""
    jumprelu_tanh_scale: float
    """Slope of the tanh penalty."""
    jumprelu_ste_to_input: bool
    """Let the straight-through gradient of the threshold reach the pre-activations too."""
    target_l0: float | None
    """Wanted number of active latents; for the quadratic penalty, which needs it. Unit: latents."""


class TopKTrainingSAEConfig(TrainingSAEConfig, tag="topk", forbid_unknown_fields=True, kw_only=True):
    """Fields of the topk architecture."""

    k: int
    """Latents kept active for each token. Unit: latents."""
    use_sparse_activations: bool
    """SAELens' name for kernels: sparse."""
    aux_loss_coefficient: float
    """Weight of the loss that lets dead latents explain the error that is left over."""
    rescale_acts_by_decoder_norm: bool
    """Choose the top k by activation times decoder norm."""
    two_stage_selection: bool
    """Find the k largest latents with a product in bfloat16, then exactly among those that its error leaves
    open: the latents are the same. Pays where the processor multiplies bfloat16. For float32 and work by
    index; with autocast it is always so.
    """


class BatchTopKTrainingSAEConfig(
    TrainingSAEConfig, tag="batchtopk", forbid_unknown_fields=True, kw_only=True
):
    """Fields of the batchtopk architecture."""

    k: float
    """Latents kept active for each token: a whole number for topk, an average over the batch for the others.
    Unit: latents.
    """
    use_sparse_activations: bool
    """SAELens' name for kernels: sparse."""
    aux_loss_coefficient: float
    """Weight of the loss that lets dead latents explain the error that is left over."""
    rescale_acts_by_decoder_norm: bool
    """Choose the top k by activation times decoder norm."""
    topk_threshold_lr: float
    """How fast the threshold of the finished SAE follows the smallest latent that a batch lets through; it
    starts at 0, as in SAELens.
    """


class MatryoshkaBatchTopKTrainingSAEConfig(
    TrainingSAEConfig, tag="matryoshka_batchtopk", forbid_unknown_fields=True, kw_only=True
):
    """Fields of the matryoshka_batchtopk architecture."""

    k: float
    """Latents kept active for each token: a whole number for topk, an average over the batch for the others.
    Unit: latents.
    """
    use_sparse_activations: bool
    """SAELens' name for kernels: sparse."""
    aux_loss_coefficient: float
    """Weight of the loss that lets dead latents explain the error that is left over."""
    rescale_acts_by_decoder_norm: bool
    """Choose the top k by activation times decoder norm."""
    topk_threshold_lr: float
    """How fast the threshold of the finished SAE follows the smallest latent that a batch lets through; it
    starts at 0, as in SAELens.
    """
    matryoshka_widths: list[int]
    """Widths whose first latents alone must reconstruct; d_sae is added when it is not the last. Unit:
    latents.
    """
    use_matryoshka_aux_loss: bool
    """Dead latents explain what their own level leaves over, not what the whole SAE does."""


AnyTrainingSAEConfig = (
    StandardTrainingSAEConfig
    | GatedTrainingSAEConfig
    | JumpReLUTrainingSAEConfig
    | TopKTrainingSAEConfig
    | BatchTopKTrainingSAEConfig
    | MatryoshkaBatchTopKTrainingSAEConfig
)
