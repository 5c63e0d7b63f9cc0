"""Which ``k`` pre-activations of each row are the largest.

Legend: B batch, P rows of a block, D d_in, F d_sae, K latents kept, S members of a group, G groups, C candidates of a
row, N candidates of all rows, M groups of all rows that hold some.
"""

import torch
from torch import Tensor

from pyworker.kernels.product import affine, linear
from pyworker.kernels.row_blocks import row_blocks
from pyworker.kernels.support import Support
from pyworker.profile import part

ROUNDING = {torch.bfloat16: 2.0**-9, torch.float32: 2.0**-24}
"""The largest relative error of rounding to nearest."""

GROUP, GROUPED_FROM = 8, 16
"""Of so many numbers to a group, from so many times ``k`` numbers in a row on: measured on a CPU, where it took half to
three quarters of the time of ``torch.topk`` at every shape from there on (256 to 24576 latents, k 8 to 128)."""

ROUNDED_BYTES = 512 * 2**10
"""Weights of so many bytes are rounded at a time on a CPU."""

MOST_CANDIDATES = 8
"""More candidates than so many times ``k`` in the mean of all rows are no help: then all is computed exactly."""


def largest(x_BD: Tensor, W_DF: Tensor, b_F: Tensor, scale_F: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Row block by row block, so that no matrix ``[B, F]`` is ever there.

    Args:
        scale_F: pre-activations are compared after multiplication by it.

    Returns:
        the pre-activations ``[B, K]``, not scaled, and their latents ``[B, K]``, in no order; of equal ones, any.
    """
    scaled_FD, offset_F = _scaled(W_DF, b_F, scale_F)
    kept: list[tuple[Tensor, Tensor]] = []
    for rows in row_blocks(x_BD, W_DF.shape[1], x_BD.element_size()):
        compared_PF = affine(x_BD[rows], scaled_FD.t(), offset_F)
        with part("select"):
            kept.append(row_top_k(compared_PF, k))
    compared_BK, indices_BK = (torch.cat(tensors) for tensors in zip(*kept, strict=True))
    return compared_BK if scale_F is None else compared_BK / scale_F[indices_BK], indices_BK


def row_top_k(z_PF: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest numbers of each row and their columns, as ``torch.topk`` finds them, in no order.

    They are members of the ``k`` groups with the largest maxima: whatever is in another group is no more than each of
    these. So few numbers are sorted. Groups lie across the row, which is how the processor likes to read it.
    """
    n_columns = z_PF.shape[1]
    if z_PF.is_cuda or n_columns < GROUPED_FROM * k or n_columns % GROUP:
        return tuple(torch.topk(z_PF, k, dim=-1, sorted=False))  # type: ignore[return-value]
    members_PSG = z_PF.unflatten(-1, (GROUP, -1))
    n_groups = members_PSG.shape[2]
    _, group_PK = row_top_k(members_PSG.amax(dim=1), k)
    members_PSK = members_PSG.gather(2, group_PK[:, None].expand(-1, GROUP, -1))
    kept_PK, place_PK = torch.topk(members_PSK.flatten(1), k, dim=-1, sorted=False)
    return kept_PK, place_PK // k * n_groups + group_PK.gather(1, place_PK % k)


def largest_in_two_stages(
    x_BD: Tensor, W_DF: Tensor, b_F: Tensor, scale_F: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """The same from a product in bfloat16, which costs less than half, and an exact one of what may be among the
    largest. No row loses a latent: with ``e`` a bound of the error of bfloat16, what is below the k-th largest by more
    than ``2 e`` there is below the k-th largest in truth.
    """
    scaled_FD, offset_F = _scaled(W_DF, b_F, scale_F)
    rough_b_F = offset_F.bfloat16()
    rough_x_BD, length_x_B, lost_x_B = _rounded(x_BD)
    rough_W_FD, length_F, lost_F = _rounded(scaled_FD)
    lost_b = offset_F.abs().max() * ROUNDING[torch.bfloat16]
    error_B = _error(length_x_B, lost_x_B, length_F.max(), lost_F.max(), lost_b, x_BD.shape[1])
    found: list[Tensor] = []
    n_found = 0
    for rows in row_blocks(x_BD, W_DF.shape[1], rough_x_BD.element_size()):
        rough_PF = linear(rough_x_BD[rows], rough_W_FD, rough_b_F)
        with part("select"):
            found.append(_candidates(rough_PF, k, error_B[rows]))
            found[-1][0] += rows.start
        n_found += found[-1].shape[1]
        if n_found > MOST_CANDIDATES * k * rows.stop:
            return largest(x_BD, W_DF, b_F, scale_F, k)
    with part("select"):
        return _decide(torch.cat(found, dim=1), x_BD, W_DF, b_F, scale_F, k)


def _scaled(W_DF: Tensor, b_F: Tensor, scale_F: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights by latent and offsets of what is compared. They are fewer numbers to scale than pre-activations, as long
    as a batch has more rows than columns."""
    return (W_DF.t(), b_F) if scale_F is None else (W_DF.t() * scale_F[:, None], b_F * scale_F)


def _decide(
    pairs_2N: Tensor, x_BD: Tensor, W_DF: Tensor, b_F: Tensor, scale_F: Tensor | None, k: int
) -> tuple[Tensor, Tensor]:
    """The exact pre-activations of the candidates, and the largest of each row."""
    row_N, latent_N = pairs_2N
    support = Support(row_N, latent_N, x_BD.shape[0], W_DF.shape[1])
    z_N = support.products(x_BD, W_DF.t()) + b_F[latent_N]
    compared_N = z_N if scale_F is None else z_N * scale_F[latent_N]
    place_N = torch.arange(len(row_N), device=row_N.device) - support.row_starts[row_N]
    most = int(support.row_starts.diff().max())
    compared_BC = compared_N.new_full((x_BD.shape[0], most), -torch.inf)
    compared_BC[row_N, place_N] = compared_N
    number_BC = torch.zeros_like(compared_BC, dtype=torch.int64)
    number_BC[row_N, place_N] = torch.arange(len(row_N), device=row_N.device)
    number_BK = number_BC.gather(-1, torch.topk(compared_BC, k, dim=-1, sorted=False).indices)
    return z_N[number_BK], latent_N[number_BK]


def _rounded(rows_ND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows in bfloat16, how long each was, and how far it moved. On a CPU block by block: three times as fast, as what
    moved is still in the second cache when it is measured."""
    rough_ND = torch.empty_like(rows_ND, dtype=torch.bfloat16)
    size = (
        len(rows_ND)
        if rows_ND.is_cuda
        else max(1, ROUNDED_BYTES // (rows_ND.shape[1] * rows_ND.element_size()))
    )
    lengths, lost = [], []
    for exact_PD, rough_PD in zip(rows_ND.split(size), rough_ND.split(size), strict=True):
        rough_PD.copy_(exact_PD)
        lengths.append(exact_PD.norm(dim=1))
        lost.append((exact_PD - rough_PD).norm(dim=1))
    return rough_ND, torch.cat(lengths), torch.cat(lost)


def _error(
    length_x_B: Tensor, lost_x_B: Tensor, length_W: Tensor, lost_W: Tensor, lost_b: Tensor, n_terms: int
) -> Tensor:
    """How far the rough pre-activations of each row can be from the exact ones ``[B]``, by the inequality of Cauchy and
    Schwarz; the rounding of the result apart, which is relative."""
    in_sums_B = 2 * n_terms * ROUNDING[torch.float32] * length_x_B * length_W
    return lost_x_B * length_W + (length_x_B + lost_x_B) * lost_W + lost_b + in_sums_B


def _candidates(rough_PF: Tensor, k: int, error_P: Tensor) -> Tensor:
    """Pairs of row and latent ``[2, N]`` that may be among the ``k`` largest of their row.

    The k-th largest maximum of a group is no more than the k-th largest of all, and is found among fewer; and only
    groups with such a maximum are looked into.
    """
    n_rows, n_columns = rough_PF.shape
    size = max(s for s in (1, 2, 4, 8, 16) if n_columns % s == 0 and n_columns // s >= k)
    members_PSG = rough_PF.view(n_rows, size, -1)
    maxima_PG = members_PSG.amax(dim=1)
    kth_P = row_top_k(maxima_PG.float(), k)[0].amin(dim=-1)
    # The k-th itself was rounded, and what is compared with it was, too.
    least_P = kth_P - 2 * (error_P + 2 * ROUNDING[torch.bfloat16] * (kth_P.abs() + error_P))
    # Rounded down: a bound that is rounded up would shut out what it must let in.
    least_P = torch.nextafter(least_P.bfloat16(), torch.tensor(-torch.inf, dtype=torch.bfloat16))
    row_M, group_M = (maxima_PG >= least_P[:, None]).nonzero().t()
    pair_N, member_N = (members_PSG[row_M, :, group_M] >= least_P[row_M, None]).nonzero().t()
    return torch.stack((row_M[pair_N], member_N * maxima_PG.shape[1] + group_M[pair_N]))
