"""The products by index on a GPU, in Triton; ``pyworker/kernels/support.py`` imports it where tensors are on one.

After the row-owner kernel of EleutherAI's sparsify, with two differences: segments are sorted, not filled by atomics,
so that every sum has one order and repeats bit for bit; and the encoder's gradient is made the same way, without a
tensor ``[N, D]``. Sums are made in float32, those of float64 in float64. The tests run these kernels in Triton's
interpreter, on a CPU, and compile them for two GPUs; no GPU was there to run or to time them.

Left out: writing a weight's gradient into Adam at once, never into memory. The norm of all gradients must be known
before the first weight moves: it scales them (``max_grad_norm``), and it stops a step that is not finite. So segments
would be walked twice, and the second walk reads ``4 B K D`` bytes to save what a gradient in memory costs: to write, to
take the norm of, to scale and to read again, ``20 F D``. With 4096 rows that is even at 24576 latents and k 32, a loss
at 16384 and k 100; and both matrices get a second gradient, from the auxiliary loss.

Legend: B rows, D d_in, F d_sae (latents), K active latents of a row, N entries, E entries of a tile.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_D = 1024
"""Columns that one program sums of a row's latents."""

TILE = 4096
"""About so many numbers of a segment's rows are asked of memory together."""

MOST_ENTRIES = 8
"""But no more rows than so many: most segments are short."""


def weighted_rows(starts_B1: Tensor, latent_N: Tensor, values_N: Tensor, W_FD: Tensor) -> Tensor:
    """For each row the weighted sum ``[B, D]`` of what its latents have in ``W``."""
    n_rows, d = len(starts_B1) - 1, W_FD.shape[1]
    out_BD = W_FD.new_empty(n_rows, d)
    block = min(triton.next_power_of_2(d), BLOCK_D)
    with torch.cuda.device_of(W_FD):
        _gather[(n_rows, triton.cdiv(d, block))](
            starts_B1, latent_N, values_N.contiguous(), W_FD.contiguous(), out_BD, d, block, _wide(W_FD)
        )
    return out_BD


def products(by_latent: tuple[Tensor, Tensor, Tensor], rows_BD: Tensor, W_FD: Tensor) -> Tensor:
    """``⟨rows[b], W[f]⟩`` of each entry ``[N]``. ``by_latent``: see ``Support``."""
    products_N = rows_BD.new_empty(len(by_latent[1]))
    _walk_segments(by_latent, rows_BD, W_FD=W_FD, products_N=products_N)
    return products_N


def sums(by_latent: tuple[Tensor, Tensor, Tensor], values_N: Tensor, rows_BD: Tensor) -> Tensor:
    """For each latent the weighted sum of its rows ``[F, D]``, zero where it has none."""
    sums_FD = rows_BD.new_empty(len(by_latent[0]) - 1, rows_BD.shape[1])
    _walk_segments(by_latent, rows_BD, values_N=values_N, sums_FD=sums_FD)
    return sums_FD


def products_and_sums(
    by_latent: tuple[Tensor, Tensor, Tensor], values_N: Tensor, rows_BD: Tensor, W_FD: Tensor
) -> tuple[Tensor, Tensor]:
    """Both, and every row is read once for the two."""
    products_N, sums_FD = rows_BD.new_empty(len(values_N)), rows_BD.new_empty(W_FD.shape)
    _walk_segments(by_latent, rows_BD, values_N, W_FD, products_N, sums_FD)
    return products_N, sums_FD


def totals(by_latent: tuple[Tensor, Tensor, Tensor], values_N: Tensor) -> Tensor:
    """For each latent the sum of its values ``[F]``."""
    starts_F1, _, order_N = by_latent
    totals_F = values_N.new_empty(len(starts_F1) - 1)
    with torch.cuda.device_of(values_N):
        _totals[(len(totals_F),)](starts_F1, order_N, values_N.contiguous(), totals_F, 256, _wide(values_N))
    return totals_F


def _walk_segments(
    by_latent: tuple[Tensor, Tensor, Tensor],
    rows_BD: Tensor,
    values_N: Tensor | None = None,
    W_FD: Tensor | None = None,
    products_N: Tensor | None = None,
    sums_FD: Tensor | None = None,
) -> None:
    starts_F1, row_N, order_N = by_latent
    # Latents that fire in most rows begin first: begun last, one of them would keep the whole device waiting.
    latent_F = torch.argsort(starts_F1.diff(), descending=True, stable=True)
    block = triton.next_power_of_2(rows_BD.shape[1])
    with torch.cuda.device_of(rows_BD):  # Triton launches on the current device, whichever the tensors are on
        _owner[(len(latent_F),)](
            latent_F,
            starts_F1,
            row_N,
            order_N,
            rows_BD.contiguous(),
            None if values_N is None else values_N.contiguous(),
            None if W_FD is None else W_FD.contiguous(),
            products_N,
            sums_FD,
            rows_BD.shape[1],
            block,
            min(max(TILE // block, 1), MOST_ENTRIES),
            _wide(rows_BD),
            num_warps=min(max(block // 256, 4), 16),
        )


def _wide(tensor: Tensor) -> tl.dtype:
    """What sums of such numbers are made in."""
    return tl.float64 if tensor.dtype == torch.float64 else tl.float32


@triton.jit
def _gather(starts, latents, values, W, out, d, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """One program sums the latents of a row; several, each its columns, where a row is long."""
    row = tl.program_id(0).to(tl.int64)
    columns_D = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there_D = columns_D < d
    sum_D = tl.zeros((BLOCK,), WIDE)
    for entry in range(tl.load(starts + row), tl.load(starts + row + 1)):
        value = tl.load(values + entry).to(WIDE)
        W_D = tl.load(W + tl.load(latents + entry) * d + columns_D, mask=there_D, other=0)
        sum_D += value * W_D.to(WIDE)
    tl.store(out + row * d + columns_D, sum_D, mask=there_D)


@triton.jit
def _owner(
    latents,
    starts,
    row_of,
    order,
    rows,
    values,
    W,
    products,
    sums,
    d,
    BLOCK: tl.constexpr,
    TILE_ENTRIES: tl.constexpr,
    WIDE: tl.constexpr,
):
    """One program owns a latent and walks its entries. What is not wanted is None: it is not compiled."""
    latent = tl.load(latents + tl.program_id(0))
    columns_D = tl.arange(0, BLOCK)
    there_D = columns_D < d
    sum_D = tl.zeros((BLOCK,), WIDE)
    if products is not None:
        W_D = tl.load(W + latent * d + columns_D, mask=there_D, other=0).to(WIDE)
    end = tl.load(starts + latent + 1)
    for first in range(tl.load(starts + latent), end, TILE_ENTRIES):
        place_E = first + tl.arange(0, TILE_ENTRIES)
        there_E = place_E < end
        entry_E = tl.load(order + place_E, mask=there_E, other=0)
        row_E = tl.load(row_of + place_E, mask=there_E, other=0)
        there_ED = there_E[:, None] & there_D[None, :]
        row_ED = tl.load(rows + row_E[:, None] * d + columns_D[None, :], mask=there_ED, other=0).to(WIDE)
        if products is not None:
            tl.store(products + entry_E, tl.sum(row_ED * W_D[None, :], axis=1), mask=there_E)
        if sums is not None:
            value_E = tl.load(values + entry_E, mask=there_E, other=0).to(WIDE)
            sum_D += tl.sum(value_E[:, None] * row_ED, axis=0)
    if sums is not None:
        tl.store(sums + latent * d + columns_D, sum_D, mask=there_D)


@triton.jit
def _totals(starts, order, values, totals, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    latent = tl.program_id(0).to(tl.int64)
    total_N = tl.zeros((BLOCK,), WIDE)
    end = tl.load(starts + latent + 1)
    for first in range(tl.load(starts + latent), end, BLOCK):
        place_N = first + tl.arange(0, BLOCK)
        entry_N = tl.load(order + place_N, mask=place_N < end, other=0)
        total_N += tl.load(values + entry_N, mask=place_N < end, other=0).to(WIDE)
    tl.store(totals + latent, tl.sum(total_N, axis=0))
