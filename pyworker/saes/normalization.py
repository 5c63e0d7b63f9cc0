"""Run-time normalisation: each input row is normalised before the encoder and restored after the decoder.

Only ``layer_norm`` and ``constant_norm_rescale`` work per row at run time; the two kinds estimated from
data are the trainer's business (:mod:`pyworker.train.activation_scaler`) and are folded into the weights.

Legend: B batch, D d_in.
"""

from dataclasses import dataclass

from torch import Tensor

RUN_TIME_KINDS = ("layer_norm", "constant_norm_rescale")
LAYER_NORM_EPSILON = 1e-5


@dataclass
class RowNormalization:
    """What was taken out of each row: the way back is ``y * scale + shift``."""

    scale_B1: Tensor
    shift_B1: Tensor | None

    def restore(self, y_BD: Tensor) -> Tensor:
        """A reconstruction in the units of the raw input."""
        y_BD = y_BD * self.scale_B1
        return y_BD if self.shift_B1 is None else y_BD + self.shift_B1

    def restore_difference(self, y_BD: Tensor) -> Tensor:
        """A difference of two reconstructions in the units of the raw input: the shift cancels."""
        return y_BD * self.scale_B1


def normalize_rows(kind: str, x_BD: Tensor) -> tuple[Tensor, RowNormalization | None]:
    """Normalise each row; kinds other than the run-time ones leave it alone (reference §2.1)."""
    if kind == "layer_norm":
        mean_B1 = x_BD.mean(dim=-1, keepdim=True)
        centred_BD = x_BD - mean_B1
        std_B1 = centred_BD.std(dim=-1, keepdim=True)
        return centred_BD / (std_B1 + LAYER_NORM_EPSILON), RowNormalization(std_B1, mean_B1)
    if kind == "constant_norm_rescale":
        scale_B1 = x_BD.norm(dim=-1, keepdim=True) / x_BD.shape[-1] ** 0.5
        return x_BD / scale_B1, RowNormalization(scale_B1, None)
    return x_BD, None
