"""Run by the Python of SAELens, not by ours: its trainer, with a checkpoint in the middle.

``judge_training.py BATCHES CASES FOLDER`` trains each case of the JSON file CASES (``architecture``, ``options`` and
``normalize_activations`` of the SAE, and those of the trainer) on the batches of a safetensors file, and leaves in
``FOLDER/<case>`` the checkpoints and ``rest.safetensors``: the loss of every step and the weights at the end, unfolded.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.registry import get_sae_training_class
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file, save_file


def train(case: dict[str, Any], batches: list[torch.Tensor], folder: Path) -> None:
    torch.manual_seed(0)
    sae_class, config_class = get_sae_training_class(case["architecture"])
    sae = sae_class(config_class(d_in=8, d_sae=32, **case["options"]))
    config = SAETrainerConfig(
        total_training_samples=len(batches) * len(batches[0]),
        train_batch_size_samples=len(batches[0]),
        checkpoint_path=str(folder),
        n_checkpoints=1,
        n_batches_for_norm_estimate=4,
        logger=LoggingConfig(log_to_wandb=False),
        **case["trainer"],
    )
    estimate = batches[:4] if sae.cfg.normalize_activations != "none" else []
    trainer = SAETrainer(config, sae, iter([*estimate, *batches]), None, None)
    losses, one_step = [], trainer._train_step

    def step(**inputs: Any) -> Any:
        output = one_step(**inputs)
        losses.append(float(output.loss.detach()))
        if len(losses) == len(batches):
            weights = {name: tensor.detach().clone() for name, tensor in sae.state_dict().items()}
            losses_S = torch.tensor(losses, dtype=torch.float64)
            save_file({"losses": losses_S, **weights}, folder / "rest.safetensors")
        return output

    trainer._train_step = step
    trainer.fit()


if __name__ == "__main__":
    rows, cases, folder = (
        load_file(sys.argv[1])["batches"],
        json.loads(Path(sys.argv[2]).read_text()),
        sys.argv[3],
    )
    for name, case in cases.items():
        train(case, list(rows), Path(folder) / name)
