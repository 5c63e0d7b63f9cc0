"""The operations every architecture is made of, behind one seam: see :mod:`pyworker.kernels.sparse_code`."""

from pyworker.kernels.indexed import EncodeTopK
from pyworker.kernels.sparse_code import (
    IndexedCode,
    SparseCode,
    batch_top_k,
    decode,
    encode_select,
    top_k,
)

__all__ = [
    "EncodeTopK",
    "IndexedCode",
    "SparseCode",
    "batch_top_k",
    "decode",
    "encode_select",
    "top_k",
]
