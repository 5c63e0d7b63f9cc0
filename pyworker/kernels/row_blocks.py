"""How many rows are encoded at a time, so that no matrix of all pre-activations is ever there."""

from torch import Tensor

BLOCK_BYTES = 16 * 2**20
"""Pre-activations of so many bytes are held at a time on a CPU: about what a core's share of the cache keeps."""

GPU_BLOCK_BYTES = 256 * 2**20
"""And on a GPU, which a smaller product would not fill. Chosen, not measured."""


def rows_of_a_block(x_BD: Tensor, n_latents: int, bytes_of_one: int) -> int:
    """Rows of ``x`` whose pre-activations, each of so many bytes, are one block."""
    return max(1, (GPU_BLOCK_BYTES if x_BD.is_cuda else BLOCK_BYTES) // (n_latents * bytes_of_one))
