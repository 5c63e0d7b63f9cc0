"""The architectures this build has. A new one is a file and a line here."""

from torch import Generator

from pyworker.errors import WorkerError
from pyworker.protocol.sae_config import AnyTrainingSAEConfig
from pyworker.saes.base import SAE
from pyworker.saes.batchtopk import BatchTopKTrainingSAE
from pyworker.saes.gated import GatedSAE, GatedTrainingSAE
from pyworker.saes.jumprelu import JumpReLUSAE, JumpReLUTrainingSAE
from pyworker.saes.matryoshka import MatryoshkaBatchTopKTrainingSAE
from pyworker.saes.standard import StandardSAE, StandardTrainingSAE
from pyworker.saes.topk import TopKSAE, TopKTrainingSAE
from pyworker.saes.training import TrainingSAE

INFERENCE: dict[str, type[SAE]] = {
    "standard": StandardSAE,
    "standard_tanh-relu": StandardSAE,
    "standard_gelu": StandardSAE,
    "gated": GatedSAE,
    "jumprelu": JumpReLUSAE,
    "topk": TopKSAE,
}

TRAINING: dict[str, type[TrainingSAE]] = {
    "standard": StandardTrainingSAE,
    "gated": GatedTrainingSAE,
    "jumprelu": JumpReLUTrainingSAE,
    "topk": TopKTrainingSAE,
    "batchtopk": BatchTopKTrainingSAE,
    "matryoshka_batchtopk": MatryoshkaBatchTopKTrainingSAE,
}


def create_sae(cfg: AnyTrainingSAEConfig, generator: Generator) -> TrainingSAE:
    """An SAE to train, its weights drawn from ``generator``.

    Raises:
        WorkerError: CONFIG_INVALID, when the sizes are not known yet.
    """
    if cfg.d_in is None or cfg.d_sae is None:
        raise WorkerError(
            "CONFIG_INVALID",
            "creating the SAE: d_in and d_sae must be resolved before",
            hint="set sae.d_in and sae.d_sae",
        )
    architecture = str(type(cfg).__struct_config__.tag)
    return TRAINING[architecture](cfg, generator)


def inference_class(architecture: str) -> type[SAE]:
    """The class of a saved SAE.

    Raises:
        WorkerError: SAE_INVALID, for an architecture this build does not have.
    """
    if architecture not in INFERENCE:
        raise WorkerError(
            "SAE_INVALID",
            f"architecture {architecture!r} is not one that this version can load",
            hint=f"It loads {', '.join(INFERENCE)}.",
        )
    return INFERENCE[architecture]
