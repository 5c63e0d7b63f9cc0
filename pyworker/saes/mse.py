"""The reconstruction error, as ``mse_loss_normalization`` wants it (reference §1.6). B batch, D d_in."""

from typing import Literal

from torch import Tensor

DENSE_BATCH_EPSILON = 1e-6


def squared_error(
    prediction_BD: Tensor, target_BD: Tensor, normalization: Literal["dense_batch"] | None
) -> Tensor:
    """Squared error of each element.

    ``dense_batch`` divides each row by the distance (not its square) of the target row from the batch mean,
    so that layers with large activations weigh no more than others.
    """
    error_BD = (prediction_BD - target_BD).square()
    if normalization is None:
        return error_BD
    centred_BD = target_BD - target_BD.mean(dim=0, keepdim=True)
    return error_BD / (centred_BD.norm(dim=-1, keepdim=True) + DENSE_BATCH_EPSILON)
