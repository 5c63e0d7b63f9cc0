"""The sparse autoencoder while it learns: losses, coefficients, and what training adds to the weights.

Legend: B batch, D d_in, F d_sae (latents).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from pyworker.errors import WorkerError
from pyworker.kernels import SparseCode, centred
from pyworker.profile import part
from pyworker.protocol.sae_config import TrainingSAEConfig
from pyworker.saes.base import SAE
from pyworker.saes.config import SAEConfig
from pyworker.saes.init import initial_weights, unit_rows
from pyworker.saes.mse import squared_error
from pyworker.saes.normalization import RUN_TIME_KINDS, RowNormalization

NOISE_SEED_OFFSET = 0x5AE
"""Keeps the noise on the pre-activations apart from the draws of the initial weights."""


@dataclass
class Coefficient:
    """A factor of a loss and the number of steps over which it grows from 0."""

    value: float
    warm_up_steps: int


@dataclass
class StepInput:
    """What one step sees. ``dead_F``: which latents count as dead, before this step; ``dead_N``: their numbers,
    ascending, where they are known already."""

    x_BD: Tensor
    dead_F: Tensor
    coefficients: dict[str, float]
    dead_N: Tensor | None = None

    def dead_latents(self, begin: int = 0, end: int | None = None) -> Tensor:
        """The numbers of the dead latents from ``begin`` to before ``end``. For all there is no wait for the device."""
        if self.dead_N is not None and begin == 0 and end is None:
            return self.dead_N
        return self.dead_F[begin:end].nonzero().squeeze(-1) + begin


@dataclass
class Forward:
    """What the losses of an architecture are computed from. ``prepared_BD`` are the normalised rows; the
    pre-activations are there as far as the kernels kept them."""

    x_BD: Tensor
    reconstruction_BD: Tensor
    squared_error_BD: Tensor
    code: SparseCode
    pre: SparseCode | None
    prepared_BD: Tensor
    rows: RowNormalization | None

    @property
    def hidden_pre_BF(self) -> Tensor | None:
        """All pre-activations, where they were kept."""
        return None if self.pre is None else self.pre.matrix()


@dataclass
class StepOutput:
    """The result of a training forward pass. ``losses`` include their coefficients; ``loss`` is their sum.
    ``metrics`` are numbers worth a line that are no loss."""

    reconstruction_BD: Tensor
    code: SparseCode
    pre: SparseCode | None
    loss: Tensor
    losses: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)


class TrainingSAE(SAE):
    """An SAE with losses. The concrete classes inherit from this and from their inference class."""

    training_cfg: TrainingSAEConfig
    draws_encoder_first = False

    def __init__(self, training_cfg: TrainingSAEConfig, generator: Generator):
        assert training_cfg.d_in is not None and training_cfg.d_sae is not None
        super().__init__(
            SAEConfig(
                architecture=type(training_cfg).__struct_config__.tag,  # type: ignore[arg-type]
                d_in=training_cfg.d_in,
                d_sae=training_cfg.d_sae,
                dtype=training_cfg.dtype,
                device=training_cfg.device,
                apply_b_dec_to_input=training_cfg.apply_b_dec_to_input,
                normalize_activations=training_cfg.normalize_activations,
                reshape_activations=training_cfg.reshape_activations,
                options=self.inference_options(training_cfg),
            )
        )
        self.training_cfg = training_cfg
        W_enc_DF, W_dec_FD = initial_weights(training_cfg, generator, self.draws_encoder_first)
        with torch.no_grad():
            self.W_enc.copy_(W_enc_DF)
            self.W_dec.copy_(W_dec_FD)
        self.noise_generator = Generator(self.W_dec.device)
        self.noise_generator.manual_seed(generator.initial_seed() + NOISE_SEED_OFFSET)
        self.finetuning_scaling_factor: nn.Parameter | None = None

    # -- what an architecture defines ------------------------------------------------------------------------

    @staticmethod
    def inference_options(training_cfg: Any) -> dict[str, Any]:
        """The options that the inference SAE keeps."""
        return {}

    def coefficients(self) -> dict[str, Coefficient]:
        """The coefficients that warm up, by SAELens' names."""
        return {}

    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        """Every loss but the reconstruction error, coefficients included."""
        raise NotImplementedError

    # -- the training forward pass ---------------------------------------------------------------------------

    def training_forward(self, step: StepInput) -> StepOutput:
        """Encode, decode and weigh one batch."""
        x_BD = step.x_BD
        prepared_BD, rows = self.prepare(x_BD)
        with part("encode"):
            code, pre = self.encode_rows(prepared_BD)
        with part("decode"):
            out_BD = self.decode_rows(code)
        if rows is not None:
            out_BD = rows.restore(out_BD)
        error_BD = squared_error(out_BD, x_BD, self.training_cfg.mse_loss_normalization)
        forward = Forward(x_BD, out_BD, error_BD, code, pre, prepared_BD, rows)
        losses = {"mse_loss": error_BD.sum(dim=-1).mean(), **self.sparsity_losses(step, forward)}
        loss = torch.stack(
            [part.to(torch.promote_types(part.dtype, torch.float32)) for part in losses.values()]
        )
        return StepOutput(out_BD, code, pre, loss.sum(), losses)

    @override
    def decode_rows(self, code: SparseCode) -> Tensor:
        if self.finetuning_scaling_factor is not None:
            code = code.weighted(self.finetuning_scaling_factor)
        return super().decode_rows(code)

    def add_noise(self, z_BF: Tensor) -> Tensor:
        """Gaussian noise on the pre-activations, while training (``noise_scale``)."""
        scale = self.training_cfg.noise_scale
        return z_BF + self.draw_noise(z_BF) * scale if self.training and scale > 0 else z_BF

    def draw_noise(self, z_BF: Tensor) -> Tensor:
        """Standard normal, from this SAE's own generator."""
        generator = self.noise_generator
        return torch.randn(z_BF.shape, generator=generator, dtype=z_BF.dtype, device=z_BF.device)

    def pre_activations_of(self, forward: Forward, latents_N: Tensor) -> Tensor:
        """``[B, N]`` of some latents: as they were, or computed for these alone where not all were kept."""
        if forward.hidden_pre_BF is not None:
            return forward.hidden_pre_BF[:, latents_N]
        return self.encode_latents(forward.prepared_BD, latents_N)

    def encode_latents(self, rows_BD: Tensor, latents_N: Tensor) -> Tensor:
        """The pre-activations ``[B, N]`` of some latents, as :meth:`encode_rows` gives them for all."""
        return centred(rows_BD, self.b_dec_in) @ self.W_enc[:, latents_N] + self.b_enc[latents_N]

    def kernels(self) -> str:
        """What a training step is made of, for the log."""
        return "dense"

    def try_kernels(self, timed_step: Callable[[], tuple[float, StepOutput]]) -> dict[str, float]:
        """What the choice between kernels rests on, measured; empty where there is none."""
        return {}

    def choose_kernels(self, timing: dict[str, float]) -> None:
        """Choose by what :meth:`try_kernels` gave."""

    def prepare_to_autocast(self) -> None:
        """Leave aside what is slower than a product in bfloat16."""

    def prepare_to_compile(self) -> None:
        """Leave aside what ``torch.compile`` cannot trace."""

    # -- what the loop does to the weights -------------------------------------------------------------------

    @torch.no_grad()
    def constrain(self) -> None:
        """Put the weights back where the options want them; called at the start of every step."""
        if self.training_cfg.normalize_sae_decoder:
            self.W_dec.copy_(unit_rows(self.W_dec))

    @torch.no_grad()
    def adopt(self, sae: SAE) -> None:
        """Go on from the weights of a finished SAE.

        Raises:
            WorkerError: SAE_INVALID, when weights of the configuration would be another function: both values
                of whatever differs are named. A scale that is estimated from data is folded into a finished
                SAE and is taken out again, so it may differ.
        """
        ours, theirs = (_function(cfg) for cfg in (self.inference_config(), sae.cfg))
        differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        if differing:
            found, wanted = (
                ", ".join(f"{name} {cfg.get(name)!r}" for name in differing) for cfg in (theirs, ours)
            )
            raise WorkerError(
                "SAE_INVALID",
                f"from_pretrained_path: the SAE has {found}; the configuration asks for {wanted}",
                hint=f"Set {', '.join(differing)} as the SAE has them.",
                details={name: {"sae": theirs.get(name), "config": ours.get(name)} for name in differing},
            )
        self.load_state_dict(self.training_state(sae.state_dict()))

    def training_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The parameters in training that make the inference SAE with these parameters."""
        return state

    def add_finetuning_scaling_factor(self) -> None:
        """Give each latent a factor, 1 at first, that fine-tuning may train."""
        self.finetuning_scaling_factor = nn.Parameter(torch.ones_like(self.W_dec[:, 0]))

    def progress(self) -> dict[str, Any]:
        """All that training changes: parameters and buffers as they are trained, the generator of the noise."""
        weights = {f"weights.{name}": tensor for name, tensor in self.state_dict().items()}
        return {**weights, "noise_generator": self.noise_generator.get_state()}

    def restore(self, progress: dict[str, Any]) -> None:
        """Go on from :meth:`progress`."""
        prefix = "weights."
        weights = {name.removeprefix(prefix): t for name, t in progress.items() if name.startswith(prefix)}
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise WorkerError(
                "SAE_INVALID",
                f"going on with other weights: {error}",
                hint="go on with the configuration that the checkpoint was made with",
            ) from error
        self.noise_generator.set_state(progress["noise_generator"])

    def inference_config(self) -> SAEConfig:
        """The configuration of the inference SAE with these weights."""
        return copy.deepcopy(self.cfg)

    def inference_state(self) -> dict[str, Tensor]:
        """A copy of the parameters that the inference SAE has."""
        state = {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
        state.pop("finetuning_scaling_factor", None)
        return state


def _function(cfg: SAEConfig) -> dict[str, Any]:
    """What decides, beside the weights, which function of raw activations an SAE is."""
    names = ("architecture", "d_in", "d_sae", "apply_b_dec_to_input")
    kind = cfg.normalize_activations
    return {
        **{name: getattr(cfg, name) for name in names},
        "normalize_activations": kind if kind in RUN_TIME_KINDS else "none",
        **cfg.options,
    }
