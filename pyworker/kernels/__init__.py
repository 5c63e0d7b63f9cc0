"""The operations every architecture is made of, behind one seam: see :mod:`pyworker.kernels.sparse_code`."""

from pyworker.kernels.sparse_code import (
    SparseCode,
    batch_top_k,
    decode,
    encode_select,
    top_k,
    top_k_indexed,
)

__all__ = ["SparseCode", "batch_top_k", "decode", "encode_select", "top_k", "top_k_indexed"]
