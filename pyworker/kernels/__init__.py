"""The operations every architecture is made of, behind one seam: see :mod:`pyworker.kernels.sparse_code`."""

from pyworker.kernels.batch_selection import encode_batch_top_k
from pyworker.kernels.encode import centred
from pyworker.kernels.indexed import IndexedCode, encode_top_k
from pyworker.kernels.ragged import encode_above
from pyworker.kernels.sparse_code import (
    SparseCode,
    batch_top_k,
    decode,
    encode,
    encode_select,
    top_k,
)
from pyworker.kernels.support import has_triton

INDEXED_DTYPES = ("float32", "float64")
"""What the sparse products of torch have on every CPU."""

__all__ = [
    "INDEXED_DTYPES",
    "IndexedCode",
    "SparseCode",
    "batch_top_k",
    "centred",
    "decode",
    "encode",
    "encode_above",
    "encode_batch_top_k",
    "encode_select",
    "encode_top_k",
    "has_triton",
    "top_k",
]
