"""Run by the judge's Python (SAELens, TransformerLens 3): activations and evaluations as those give them.

Arguments: model folder, tokens.safetensors, output.safetensors for the activations, and SAE folders; the evaluation of
each is written into it as metrics.json and, what has a value for each latent, featurewise.safetensors.
"""

import json
import sys
from pathlib import Path

import torch
from sae_lens import SAE
from sae_lens.evals import EvalConfig, run_evals
from sae_lens.training.activation_scaler import ActivationScaler
from safetensors.torch import load_file, save_file
from transformer_lens import HookedTransformer, loading_from_pretrained

model_folder, tokens_file, output_file, *sae_folders = sys.argv[1:]
torch.set_num_threads(1)
loading_from_pretrained.OFFICIAL_MODEL_NAMES.append(model_folder)
model = HookedTransformer.from_pretrained_no_processing(model_folder, device="cpu")
batches = load_file(tokens_file)
_, cache = model.run_with_cache(batches["tokens.0"], prepend_bos=False)
save_file({name: value.clone().contiguous() for name, value in cache.items()}, output_file)


class Batches:
    """The part of ActivationsStore that run_evals uses, over the given batches."""

    context_size = batches["tokens.0"].shape[1]
    store_batch_size_prompts = batches["tokens.0"].shape[0]

    def reset_input_dataset(self) -> None:
        self.given = 0

    def get_batch_tokens(self, _batch_size: int) -> torch.Tensor:
        self.given += 1
        return batches[f"tokens.{self.given - 1}"]


store = Batches()
config = EvalConfig(
    n_eval_reconstruction_batches=len(batches),
    n_eval_sparsity_variance_batches=len(batches),
    compute_kl=True,
    compute_ce_loss=True,
    compute_l2_norms=True,
    compute_sparsity_metrics=True,
    compute_variance_metrics=True,
    compute_featurewise_density_statistics=True,
    compute_featurewise_weight_based_metrics=True,
)
for folder in sae_folders:
    store.reset_input_dataset()
    sae = SAE.load_from_disk(folder, device="cpu")
    metrics, featurewise = run_evals(
        sae, store, model, ActivationScaler(), config, exclude_special_tokens=True
    )
    flat = {f"{group}/{name}": value for group, of in metrics.items() for name, value in of.items()}
    Path(folder, "metrics.json").write_text(json.dumps(flat))
    arrays = {name: torch.as_tensor(values).float().contiguous() for name, values in featurewise.items()}
    save_file(arrays, Path(folder, "featurewise.safetensors"))
