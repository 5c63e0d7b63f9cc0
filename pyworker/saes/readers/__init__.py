"""Readers of SAE folders, one file a library. The weights' file tells the format (src/artifacts/sae-format.ts)."""

import math
from collections.abc import Callable
from pathlib import Path

from pyworker.saes.readers import dictionary_learning, gemma_scope, llama_scope, sae_lens, sparsify
from pyworker.saes.readers.stored import StoredSAE, refused
from pyworker.saes.readers.weights import weight_problem
from pyworker.saes.saving import WEIGHTS_FILE

READERS: dict[str, Callable[[Path], StoredSAE]] = {
    WEIGHTS_FILE: sae_lens.read,
    sparsify.WEIGHTS_FILE: sparsify.read,
    dictionary_learning.SAFE_WEIGHTS_FILE: dictionary_learning.read,
    dictionary_learning.WEIGHTS_FILE: dictionary_learning.read,
    gemma_scope.NPZ_FILE: gemma_scope.read_npz,
    gemma_scope.SAFETENSORS_FILE: gemma_scope.read_safetensors_folder,
    llama_scope.WEIGHTS_FILE: llama_scope.read,
}


def read_sae(folder: Path) -> StoredSAE:
    """What a folder holds; one without weights is read as SAELens', whose error names what is missing.

    Raises:
        WorkerError: SAE_INVALID, also for weights that are not of floats, or NaN or infinite.
    """
    found = next((read for name, read in READERS.items() if (folder / name).exists()), sae_lens.read)
    stored = found(folder)
    problem = weight_problem({**stored.state, **(stored.whitening or {})})
    if problem is not None:
        raise refused(folder, problem)
    factor = stored.scaling_factor
    if factor is not None and not (isinstance(factor, int | float) and 0 < factor < math.inf):
        raise refused(folder, f"the activations were scaled by {factor!r}, expected a number above 0")
    return stored
