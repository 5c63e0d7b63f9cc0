"""TopK SAE: the k largest pre-activations of each row, and a loss that revives dead latents (Gao et al. 2024; §2.5).

Legend: B batch, D d_in, F d_sae, N dead latents, K auxiliary latents.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import override

from pyworker.kernels import (
    INDEXED_DTYPES,
    SparseCode,
    decode,
    encode_select,
    encode_top_k,
    has_triton,
    top_k,
)
from pyworker.protocol.sae_config import TopKTrainingSAEConfig
from pyworker.saes.base import SAE
from pyworker.saes.training import Forward, StepInput, StepOutput, TrainingSAE

PAYS_FROM = 8
"""From so many latents for each active one, work by index is faster on a CPU: measured 0.96 times dense at 4, 1.3 at 8,
2.6 at 64, 3.8 at 164 (``npm run bench -- step``, once with ``--kernels dense`` and once with ``sparse``)."""

PAYS_ON_GPU_FROM, PAYS_UNDER_AUTOCAST_FROM = 40, 300
"""The same in our kernels on a GPU, by arithmetic, not measured: where reading the rows of k latents takes as long as a
product with all: an H100's 67 TFLOP/s in float32, or 989 in bfloat16, over 3.35 TB/s. An A100 has half of both. Other
trainers change over at 250."""


class TopKSAE(SAE):
    """With ``rescale_acts_by_decoder_norm`` latents are compared by their effect: pre-activation × decoder norm."""

    def selection(self) -> Callable[[Tensor], Tensor | SparseCode]:
        """Which pre-activations become latents."""
        return partial(top_k, k=self.cfg.options["k"])

    @property
    def rescales(self) -> bool:
        """Whether latents are compared by their effect."""
        return self.cfg.options["rescale_acts_by_decoder_norm"]

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode | None]:
        scale_F = self.W_dec.norm(dim=1) if self.rescales else None
        return encode_select(
            rows_BD,
            self.b_dec_in,
            self.W_enc,
            self.b_enc,
            self.selection(),
            latent_scale_F=scale_F,
            add_noise=self.add_noise,
        )

    @override
    def decode_rows(self, code: SparseCode) -> Tensor:
        return super().decode_rows(code.weighted(1 / self.W_dec.norm(dim=1)) if self.code_is_scaled else code)

    @property
    def code_is_scaled(self) -> bool:
        """Whether the latents of a code are in the units they are compared in."""
        return self.rescales

    def add_noise(self, z_BF: Tensor) -> Tensor:
        """Nothing, unless this is a training SAE."""
        return z_BF

    def _settle_scale(self) -> None:
        """Fix the scale of the latents by the decoder norms as they are, before the decoder changes by latent."""
        if self.rescales:
            self.fold_W_dec_norm()
            self.cfg.options["rescale_acts_by_decoder_norm"] = False

    @override
    @torch.no_grad()
    def fold_whitening(self, mean_D: Tensor, matrix_DD: Tensor, inverse_DD: Tensor) -> None:
        self._settle_scale()
        super().fold_whitening(mean_D, matrix_DD, inverse_DD)

    @override
    @torch.no_grad()
    def fold_latent_factors(self, factor_F: Tensor) -> None:
        self._settle_scale()
        super().fold_latent_factors(factor_F)


class TopKTrainingSAE(TrainingSAE, TopKSAE):
    """Needs no sparsity penalty; the auxiliary loss revives dead latents."""

    training_cfg: TopKTrainingSAEConfig

    def __init__(self, training_cfg: TopKTrainingSAEConfig, generator: Generator):
        super().__init__(training_cfg, generator)
        self.by_index = self.chooses_index()

    def chooses_index(self, autocast: bool = False) -> bool:
        """Whether training uses the kernels that work by index."""
        cfg = self.training_cfg
        if cfg.kernels != "auto" or cfg.use_sparse_activations:
            return cfg.kernels == "sparse" or cfg.use_sparse_activations
        return cfg.noise_scale == 0 and pays_by_index(
            torch.device(cfg.device).type, cfg.dtype, autocast, self.cfg.d_sae / cfg.k
        )

    @override
    def kernels(self) -> str:
        return "sparse" if self.by_index else "dense"

    @override
    def try_kernels(self, timed_step: Callable[[], tuple[float, StepOutput]]) -> dict[str, float]:
        timing = {}
        for self.by_index in (False, True):
            timing[f"{self.kernels()}_s"] = timed_step()[0]
        return timing

    @override
    def choose_kernels(self, timing: dict[str, float]) -> None:
        self.by_index = timing["sparse_s"] < timing["dense_s"]

    @override
    def progress(self) -> dict[str, Any]:
        return {**super().progress(), "by_index": self.by_index}

    @override
    def restore(self, progress: dict[str, Any]) -> None:
        super().restore(progress)
        self.by_index = progress["by_index"]

    @override
    def prepare_to_autocast(self) -> None:
        self.by_index = self.chooses_index(autocast=True)

    @override
    def prepare_to_compile(self) -> None:
        self.by_index = False

    @override
    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode | None]:
        if not (self.by_index and self.training):
            return super().encode_rows(rows_BD)
        scale_F = self.W_dec.detach().norm(dim=1) if self.rescales else None
        two_stages = self.cfg.dtype == "float32" and (
            self.training_cfg.two_stage_selection or torch.is_autocast_enabled(rows_BD.device.type)
        )
        pre = encode_top_k(
            rows_BD, self.b_dec_in, self.W_enc, self.b_enc, scale_F, self.training_cfg.k, two_stages
        )
        return pre.with_values(torch.relu(pre.values)), None

    @property
    @override
    def code_is_scaled(self) -> bool:
        # By index the scale only decides which latents are kept: multiplied and divided away again, it would cost three
        # passes over W_dec for a gradient that is zero.
        return self.rescales and not (self.by_index and self.training)

    @override
    @staticmethod
    def inference_options(training_cfg: TopKTrainingSAEConfig) -> dict[str, Any]:
        return {
            "k": training_cfg.k,
            "rescale_acts_by_decoder_norm": training_cfg.rescale_acts_by_decoder_norm,
        }

    @override
    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        return {"auxiliary_reconstruction_loss": self.auxiliary_loss(step, forward)}

    def auxiliary_loss(
        self,
        step: StepInput,
        forward: Forward,
        residual_BD: Tensor | None = None,
        begin: int = 0,
        end: int | None = None,
    ) -> Tensor:
        """Let the best dead latents of each row, unrectified, explain the residual (AuxK).

        v6 decodes a difference: no bias, and only the scale of a run-time normalisation. v5 decoded it as
        if it were an activation: bias and shift included.

        Args:
            step, forward: the step so far.
            residual_BD: what is to be explained; default: what the whole SAE leaves.
            begin, end: only the latents from ``begin`` to before ``end`` take part.
        """
        dead_N = step.dead_latents(begin, end)
        n_dead = dead_N.numel()
        if n_dead == 0:
            return forward.squared_error_BD.new_zeros(())
        wanted = self.cfg.d_in // 2
        z_BN = self.pre_activations_of(forward, dead_N)
        values_BK, indices_BK = torch.topk(z_BN, min(wanted, n_dead), dim=-1, sorted=False)
        W_dec_ND = self.W_dec[dead_N]
        code = SparseCode(torch.zeros_like(z_BN).scatter(-1, indices_BK, values_BK))
        if self.rescales:
            code = code.weighted(1 / W_dec_ND.norm(dim=1))
        if self.finetuning_scaling_factor is not None:
            code = code.weighted(self.finetuning_scaling_factor[dead_N])
        guess_BD = decode(code, W_dec_ND)
        v5 = self.training_cfg.vocabulary == "v5"
        if v5:
            guess_BD = guess_BD + self.b_dec
        if forward.rows is not None:
            guess_BD = forward.rows.restore(guess_BD) if v5 else forward.rows.restore_difference(guess_BD)
        if residual_BD is None:
            residual_BD = (forward.x_BD - forward.reconstruction_BD).detach()
        error = (guess_BD - residual_BD).square().sum(dim=-1).mean()
        return self.training_cfg.aux_loss_coefficient * min(n_dead / wanted, 1.0) * error

    @override
    def encode_latents(self, rows_BD: Tensor, latents_N: Tensor) -> Tensor:
        z_BN = super().encode_latents(rows_BD, latents_N)
        return z_BN * self.W_dec[latents_N].norm(dim=1) if self.rescales else z_BN


def pays_by_index(device: str, dtype: str, autocast: bool, latents_for_each_active: float) -> bool:
    """Whether a step by index is expected to be faster than a dense one."""
    if device == "cuda":
        least = PAYS_UNDER_AUTOCAST_FROM if autocast else PAYS_ON_GPU_FROM
        return dtype == "float32" and has_triton() and latents_for_each_active >= least
    return device == "cpu" and dtype in INDEXED_DTYPES and latents_for_each_active >= PAYS_FROM
