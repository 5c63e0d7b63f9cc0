"""One training step of the trainers that `step.py --peer` names, as each takes it itself.

Where they differ from SAELens it is left so: sparsify keeps the decoder's rows at length 1 and decodes by index,
dictionary_learning besides sorts what it keeps and sets its first ``b_dec`` to the geometric median.
"""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from torch import Tensor, nn

# A dependency of a dependency; PyPI's build of it does not load beside torch's own build for CPUs.
sys.modules["torchvision"] = None  # type: ignore[assignment]

Step = Callable[[Tensor], None]


def saelens(asked: argparse.Namespace, options: dict[str, Any], lr: float, lr_end: float) -> Any:
    """A step of SAELens 6.54.12, as its trainer takes it."""
    from sae_lens import LoggingConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    sae_class, config_class = get_sae_training_class(asked.architecture)
    config = SAETrainerConfig(
        total_training_samples=10**9,
        train_batch_size_samples=asked.batch,
        lr=lr,
        lr_end=lr_end,
        autocast=asked.autocast,
        feature_sampling_window=10**6,
        dead_feature_window=10**6,
        logger=LoggingConfig(log_to_wandb=False),
    )
    sae = sae_class(config_class(d_in=asked.d_in, d_sae=asked.d_sae, **options))
    trainer = SAETrainer(cfg=config, sae=sae, data_provider=iter(()))

    def step(x_BD: Tensor) -> None:
        trainer.step(x_BD)
        trainer.n_training_steps += 1

    step.sae = sae  # type: ignore[attr-defined]
    return step


def sparsify(asked: argparse.Namespace, options: dict[str, Any], lr: float, lr_end: float) -> Any:
    """A step of eai-sparsify 1.3.3: what its trainer does between two batches, with its option ``adam``, and its own
    decoder for machines without a GPU."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    import torch

    with redirect_stdout(sys.stderr):
        from sparsify import SparseCoder, SparseCoderConfig

    coder = SparseCoder(asked.d_in, SparseCoderConfig(num_latents=asked.d_sae, k=options["k"]))
    optimizer = torch.optim.Adam(coder.parameters(), lr=lr)
    fired_steps_ago = torch.zeros(asked.d_sae, dtype=torch.long)

    def step(x_BD: Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x_BD, dead_mask=fired_steps_ago > 10**6)
        fired_steps_ago.add_(1)
        fired_steps_ago[out.latent_indices.flatten()] = 0
        (out.fvu + out.auxk_loss).backward()
        nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()

    return step


def dictionary_learning(asked: argparse.Namespace, options: dict[str, Any], lr: float, lr_end: float) -> Any:
    """A step of dictionary-learning 0.1.0: its trainer's ``update``."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10**9,
        activation_dim=asked.d_in,
        dict_size=asked.d_sae,
        k=options["k"],
        layer=0,
        lm_name="none",
        lr=lr,
        device="cpu",
    )
    n_steps = 0

    def step(x_BD: Tensor) -> None:
        nonlocal n_steps
        trainer.update(n_steps, x_BD)
        n_steps += 1

    return step


PEERS = {"saelens": saelens, "sparsify": sparsify, "dictionary_learning": dictionary_learning}
