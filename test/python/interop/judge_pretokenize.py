"""Run by the Python of the judge environment: SAELens pretokenizes, and trains on what was pretokenized here.

``judge_pretokenize.py CASES FOLDER``: ``CASES`` is a JSON list of options for ``PretokenizeRunnerConfig``; the
sequences of case i become ``FOLDER/i.npy``. ``judge_pretokenize.py DATASET MODEL OUTPUT`` trains a few steps on the
dataset and saves the SAE.
"""

import json
import sys
from pathlib import Path

import numpy as np


def pretokenize(cases, folder):
    from sae_lens import PretokenizeRunner, PretokenizeRunnerConfig

    for number, options in enumerate(json.loads(Path(cases).read_text())):
        dataset = PretokenizeRunner(PretokenizeRunnerConfig(**options)).run()
        rows = dataset["input_ids"][:]
        np.save(Path(folder) / f"{number}.npy", np.array([row.tolist() for row in rows]))


def train(dataset, model_folder, output):
    import datasets
    from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig
    from transformer_lens import loading_from_pretrained

    loading_from_pretrained.OFFICIAL_MODEL_NAMES.append(model_folder)
    rows = datasets.load_from_disk(dataset)
    cfg = LanguageModelSAERunnerConfig(
        sae=TopKTrainingSAEConfig(k=4, d_in=64, d_sae=128),
        model_name=model_folder,
        hook_name="blocks.1.hook_resid_post",
        dataset_path=dataset,
        streaming=False,
        context_size=len(rows[0]["input_ids"]),
        training_tokens=4096,
        train_batch_size_tokens=256,
        store_batch_size_prompts=4,
        n_batches_in_buffer=16,
        device="cpu",
        logger=LoggingConfig(log_to_wandb=False),
        output_path=output,
    )
    LanguageModelSAETrainingRunner(cfg, override_dataset=rows).run()


if __name__ == "__main__":
    (pretokenize if len(sys.argv) == 3 else train)(*sys.argv[1:])
