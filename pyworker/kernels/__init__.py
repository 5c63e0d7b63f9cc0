"""The operations every architecture is made of, behind one seam: see :mod:`pyworker.kernels.sparse_code`."""

from pyworker.kernels.sparse_code import SparseCode, decode, encode_select, top_k, top_k_indexed

__all__ = ["SparseCode", "decode", "encode_select", "top_k", "top_k_indexed"]
