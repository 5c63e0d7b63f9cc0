"""Training an SAE on batches of activations."""

from pyworker.train.activation_scaler import ActivationScaler
from pyworker.train.callbacks import CheckpointKind, TrainerCallbacks
from pyworker.train.trainer import ActivationBatches, SAETrainer, TrainResult

__all__ = [
    "ActivationBatches",
    "ActivationScaler",
    "CheckpointKind",
    "SAETrainer",
    "TrainResult",
    "TrainerCallbacks",
]
