"""How many rows are encoded at a time, so that no matrix of all pre-activations is ever there."""

from collections.abc import Iterator

from torch import Tensor

BLOCK_BYTES = 16 * 2**20
"""Pre-activations of so many bytes are held at a time on a CPU: about what a core's share of the cache keeps."""

GPU_BLOCK_BYTES = 256 * 2**20
"""And on a GPU, which a smaller product would not fill. Chosen, not measured."""


def row_blocks(x_BD: Tensor, n_latents: int, bytes_of_one: int) -> Iterator[slice]:
    """The rows of ``x``, so many at a time that their pre-activations, each of so many bytes, are one block."""
    size = max(1, (GPU_BLOCK_BYTES if x_BD.is_cuda else BLOCK_BYTES) // (n_latents * bytes_of_one))
    for first in range(0, len(x_BD), size):
        yield slice(first, min(first + size, len(x_BD)))
