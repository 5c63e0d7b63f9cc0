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

    As documented, each latent gets a factor that fine-tuning trains. SAELens v5 let the factor learn before
    fine-tuning and froze it then, and began one step late; in its vocabulary that is reproduced.
    ``scale``, which crashed there, trains the factor.
    """

    def __init__(self, sae: TrainingSAE, config: LanguageModelSAERunnerConfig):
        self.method = config.finetuning_method
        self.starts_after = config.training_tokens
        self.as_v5 = config.sae.vocabulary == "v5"
        self.started = False
        if self.method is not None:
            sae.add_finetuning_scaling_factor()
            assert sae.finetuning_scaling_factor is not None
            sae.finetuning_scaling_factor.requires_grad_(self.as_v5)

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
