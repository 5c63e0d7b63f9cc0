"""The sparse autoencoder: what all architectures share.

An architecture is one file: a :class:`SAE` that encodes, a :class:`~pyworker.saes.training.TrainingSAE`
made from it that adds losses, and a line in ``pyworker/saes/registry.py``.

Legend: B batch, D d_in, F d_sae (latents).
"""

from typing import Any

import torch
from torch import Tensor, nn

from pyworker.errors import WorkerError
from pyworker.kernels import SparseCode, decode
from pyworker.saes.config import SAEConfig
from pyworker.saes.normalization import RowNormalization, normalize_rows

NORM_FLOOR = 1e-8


class SAE(nn.Module):
    """Encodes activations of a model into sparse latents and back.

    Parameters: ``W_enc [D, F]``, ``W_dec [F, D]``, ``b_dec [D]``, and what ``latent_parameters`` names,
    each ``[F]``. Both matrices are stored latent by latent: so they are read, and so gradients come.
    """

    latent_parameters: tuple[str, ...] = ("b_enc",)
    """Parameters with one number for each latent."""

    latent_offsets: tuple[str, ...] = ("b_enc",)
    """Those of them that are in the units of the latents: they scale when a latent is scaled."""

    W_enc: nn.Parameter
    W_dec: nn.Parameter
    b_dec: nn.Parameter

    def __init__(self, cfg: SAEConfig):
        super().__init__()
        self.cfg = cfg
        place: dict[str, Any] = {"dtype": cfg.torch_dtype, "device": cfg.device}
        self.W_enc = nn.Parameter(torch.zeros(cfg.d_sae, cfg.d_in, **place).t())
        self.W_dec = nn.Parameter(torch.zeros(cfg.d_sae, cfg.d_in, **place))
        self.b_dec = nn.Parameter(torch.zeros(cfg.d_in, **place))
        for name in self.latent_parameters:
            self.register_parameter(name, nn.Parameter(torch.zeros(cfg.d_sae, **place)))
        self._rows: RowNormalization | None = None
        self._head_shape: torch.Size | None = None

    # -- what an architecture defines ------------------------------------------------------------------------

    def encode_rows(self, rows_BD: Tensor) -> tuple[SparseCode, SparseCode | None]:
        """The code of prepared rows, and the pre-activations it was selected from, as far as they were kept."""
        raise NotImplementedError

    def decode_rows(self, code: SparseCode) -> Tensor:
        """The reconstruction of prepared rows."""
        return decode(code, self.W_dec) + self.b_dec

    # -- the three things a user does ------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """Latents ``[..., F]`` of activations ``[..., D]`` (``[..., heads, d_head]`` for ``hook_z``)."""
        rows, self._rows = self.prepare(self._join_heads(x))
        return self.encode_rows(rows)[0].dense()

    def decode(self, latents: Tensor) -> Tensor:
        """Activations from latents. With run-time normalisation it belongs to the last :meth:`encode`.

        Raises:
            WorkerError: SAE_INVALID, when run-time normalisation is on and the rows are not those last
            encoded.
        """
        out = self.decode_rows(SparseCode(latents))
        if self._needs_row_statistics():
            if self._rows is None or self._rows.scale_B1.shape[:-1] != out.shape[:-1]:
                raise WorkerError(
                    "SAE_INVALID",
                    f"decode of {tuple(latents.shape)} latents: this SAE normalises each row "
                    f"({self.cfg.normalize_activations}) and the rows' statistics are not known",
                    hint="Call encode on the same rows first, or use forward.",
                )
            out = self._rows.restore(out)
        return out if self._head_shape is None else out.reshape(*out.shape[:-1], *self._head_shape)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of activations."""
        return self.decode(self.encode(x))

    # -- shared steps ----------------------------------------------------------------------------------------

    def prepare(self, x_BD: Tensor) -> tuple[Tensor, RowNormalization | None]:
        """Cast and normalise rows."""
        return normalize_rows(self.cfg.normalize_activations, x_BD.to(self.W_dec.dtype))

    @property
    def b_dec_in(self) -> Tensor | None:
        """What is subtracted from prepared rows before they are encoded."""
        return self.b_dec if self.cfg.apply_b_dec_to_input else None

    def _needs_row_statistics(self) -> bool:
        return self.cfg.normalize_activations in ("layer_norm", "constant_norm_rescale")

    def _join_heads(self, x: Tensor) -> Tensor:
        joins = self.cfg.reshape_activations == "hook_z" and x.shape[-1] != self.cfg.d_in
        self._head_shape = x.shape[-2:] if joins else None
        return x.flatten(-2) if joins else x

    # -- folding: the same function in other weights (reference §2.1) ----------------------------------------

    @torch.no_grad()
    def fold_W_dec_norm(self) -> None:
        """Move the norms of the decoder rows into the encoder: rows become unit, latents scale with their
        norm."""
        norms_F = self.W_dec.norm(dim=1).clamp(min=NORM_FLOOR)
        self.W_dec.div_(norms_F[:, None])
        self.W_enc.mul_(norms_F)
        for name in self.latent_offsets:
            offset_F = getattr(self, name)
            offset_F.mul_(norms_F.to(offset_F.dtype))

    @torch.no_grad()
    def fold_scaling_factor(self, factor: float) -> None:
        """Make an SAE of ``factor · x`` an SAE of ``x``. Latents keep their values."""
        self.W_enc.mul_(factor)
        self.W_dec.div_(factor)
        self.b_dec.div_(factor)
        self.cfg.normalize_activations = "none"

    @torch.no_grad()
    def fold_whitening(self, mean_D: Tensor, matrix_DD: Tensor, inverse_DD: Tensor) -> None:
        """Make an SAE of ``(x - mean) @ matrix`` an SAE of ``x``. Computed in the precision of the
        statistics."""
        exact = torch.promote_types(self.W_enc.dtype, matrix_DD.dtype)
        mean_D, matrix_DD, inverse_DD = (
            t.to(device=self.W_enc.device, dtype=exact) for t in (mean_D, matrix_DD, inverse_DD)
        )
        W_enc_DF = matrix_DD @ self.W_enc.to(exact)
        self.W_enc.copy_(W_enc_DF)
        if not self.cfg.apply_b_dec_to_input:
            self.shift_latents(-(mean_D @ W_enc_DF))
        self.W_dec.copy_(self.W_dec.to(exact) @ inverse_DD)
        self.b_dec.copy_(self.b_dec.to(exact) @ inverse_DD + mean_D)
        self.cfg.normalize_activations = "none"

    @torch.no_grad()
    def fold_latent_factors(self, factor_F: Tensor) -> None:
        """Multiply what each latent writes, not its value, by its factor."""
        self.W_dec.mul_(factor_F[:, None])

    def shift_latents(self, shift_F: Tensor) -> None:
        """Add a constant to the pre-activations."""
        self.b_enc.add_(shift_F.to(self.b_enc.dtype))  # type: ignore[operator]

    def weight_histograms(self) -> dict[str, Tensor]:
        """Distributions worth a histogram, under SAELens' names (reference §4.3)."""
        return {"weights/W_dec_norms": self.W_dec.detach().norm(dim=1)}
