"""Matryoshka BatchTopK SAE: the first latents alone must reconstruct too, at several widths (Bussmann et al. 2025,
arXiv 2503.17547; reference §2.7).

Legend: B batch, D d_in, F d_sae.
"""

from collections.abc import Iterator

from torch import Tensor
from typing_extensions import override

from pyworker.kernels import decode
from pyworker.protocol.sae_config import MatryoshkaBatchTopKTrainingSAEConfig
from pyworker.saes.batchtopk import BatchTopKTrainingSAE
from pyworker.saes.mse import squared_error
from pyworker.saes.training import Forward, StepInput


class MatryoshkaBatchTopKTrainingSAE(BatchTopKTrainingSAE):
    """One selection over the batch, a reconstruction error for every width."""

    training_cfg: MatryoshkaBatchTopKTrainingSAEConfig

    @override
    def sparsity_losses(self, step: StepInput, forward: Forward) -> dict[str, Tensor]:
        cfg = self.training_cfg
        by_level = cfg.use_matryoshka_aux_loss and step.dead_latents().numel() > 0
        widths = self.widths() if by_level else self.widths()[:-1]
        losses, auxiliary, begin = {}, [], 0
        for width, partial_BD in self._partial_reconstructions(forward, widths):
            if width < self.cfg.d_sae:
                error_BD = squared_error(partial_BD, forward.x_BD, cfg.mse_loss_normalization)
                losses[f"inner_mse_loss_{width}"] = error_BD.sum(dim=-1).mean()
            if by_level:
                residual_BD = (forward.x_BD - partial_BD).detach()
                auxiliary.append(self.auxiliary_loss(step, forward, residual_BD, begin, width))
            begin = width
        loss = sum(auxiliary) if by_level else self.auxiliary_loss(step, forward)
        return {"auxiliary_reconstruction_loss": loss, **losses}

    def widths(self) -> list[int]:
        """The widths that reconstruct, the whole SAE last."""
        widths = self.training_cfg.matryoshka_widths
        return widths if widths[-1] == self.cfg.d_sae else [*widths, self.cfg.d_sae]

    def _partial_reconstructions(self, forward: Forward, widths: list[int]) -> Iterator[tuple[int, Tensor]]:
        code = forward.code
        if self.rescales:
            code = code.weighted(1 / self.W_dec.norm(dim=1))
        if self.finetuning_scaling_factor is not None:
            code = code.weighted(self.finetuning_scaling_factor)
        sum_BD, begin = self.b_dec, 0
        for width in widths:
            sum_BD = decode(code.columns(begin, width), self.W_dec[begin:width]) + sum_BD
            yield width, sum_BD if forward.rows is None else forward.rows.restore(sum_BD)
            begin = width
