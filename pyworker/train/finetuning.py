"""Fine-tuning: after ``training_tokens`` only some parameters go on learning (reference §1.6, trap 12)."""

from pyworker.protocol.config import LanguageModelSAERunnerConfig
from pyworker.saes import TrainingSAE

FACTOR = "finetuning_scaling_factor"
TRAINED: dict[str, set[str]] = {
    "scale": {FACTOR},
    "decoder": {FACTOR, "W_dec", "b_dec"},
    "unrotated_decoder": {FACTOR, "b_dec"},
}


class FineTuning:
    """Freezes parameters when the time has come.

    As documented, each latent gets a factor that rests until fine-tuning trains it. SAELens v5 began one step
    late and never let the factor learn; in its vocabulary that is reproduced. ``scale``, which crashed there,
    trains the factor.
    """

    def __init__(self, sae: TrainingSAE, config: LanguageModelSAERunnerConfig):
        self.method = config.finetuning_method
        self.starts_after = config.training_tokens
        self.as_v5 = config.sae.vocabulary == "v5"
        self.started = False
        if self.method is not None:
            sae.add_finetuning_scaling_factor()
            assert sae.finetuning_scaling_factor is not None
            sae.finetuning_scaling_factor.requires_grad_(False)

    def begin_if_due(self, sae: TrainingSAE, n_training_samples: int) -> None:
        """Called between steps."""
        past = n_training_samples - self.starts_after
        if self.started or self.method is None or past < 0 or (past == 0 and self.as_v5):
            return
        self.started = True
        trained = TRAINED[self.method]
        if self.as_v5 and self.method != "scale":
            trained = trained - {FACTOR}
        for name, parameter in sae.named_parameters():
            parameter.requires_grad_(name in trained)
