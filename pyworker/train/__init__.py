"""Training an SAE on batches of activations."""

from pyworker.train.activation_scaler import ActivationScaler
from pyworker.train.callbacks import CheckpointKind, TrainerCallbacks
from pyworker.train.loop import TrainingLoop, TrainResult
from pyworker.train.trainer import ActivationBatches, SAETrainer

__all__ = [
    "ActivationBatches",
    "ActivationScaler",
    "CheckpointKind",
    "SAETrainer",
    "TrainResult",
    "TrainerCallbacks",
    "TrainingLoop",
]
