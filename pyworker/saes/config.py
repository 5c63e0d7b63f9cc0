"""What an SAE is when it is not being trained: the content of ``cfg.json``."""

from dataclasses import dataclass, field
from typing import Any

import torch

TORCH_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass
class SAEConfig:
    """Fields shared by all architectures, under SAELens' names (reference §4.1).

    ``options`` holds what one architecture adds, for example ``k``; they lie beside the others in
    ``cfg.json``.
    """

    architecture: str
    d_in: int
    d_sae: int
    dtype: str = "float32"
    device: str = "cpu"
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The number type of the weights."""
        return TORCH_DTYPES[self.dtype]

    def to_json(self) -> dict[str, Any]:
        """The content of ``cfg.json``."""
        fields = {name: value for name, value in vars(self).items() if name not in ("options", "metadata")}
        return {**fields, **self.options, "metadata": self.metadata}
