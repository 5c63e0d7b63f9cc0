"""Sparse autoencoders: architectures, initial weights, folding, and the files SAELens shares with us."""

from pyworker.saes.base import SAE
from pyworker.saes.inference import to_inference
from pyworker.saes.init import seeded_generator
from pyworker.saes.loading import load_sae
from pyworker.saes.registry import create_sae
from pyworker.saes.saving import inference_files, save_inference
from pyworker.saes.training import Coefficient, StepInput, StepOutput, TrainingSAE

__all__ = [
    "SAE",
    "Coefficient",
    "StepInput",
    "StepOutput",
    "TrainingSAE",
    "create_sae",
    "inference_files",
    "load_sae",
    "save_inference",
    "seeded_generator",
    "to_inference",
]
