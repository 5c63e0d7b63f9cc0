"""Run by the Python of SAELens, not by ours: encode and decode with it, or let it save an SAE.

``judge.py load FOLDER ROWS OUT`` writes the latents and reconstruction that SAELens gets from our folder.
``judge.py save ARCHITECTURE FOLDER ROWS OUT`` saves an SAE of its own there, unfolded decoder norms and all.
"""

import json
import sys

import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from safetensors.torch import load_file, save_file


def answer(folder: str, rows: str, out: str) -> None:
    sae = SAE.load_from_disk(folder)
    x = load_file(rows)["x"]
    latents = sae.encode(x)
    result = {"latents": latents, "reconstruction": sae.decode(latents)}
    save_file({name: t.detach().contiguous() for name, t in result.items()}, out)


def save(architecture: str, folder: str) -> None:
    torch.manual_seed(0)
    sae_class, config_class = get_sae_training_class(architecture)
    options = json.loads('{"k": 4}') if architecture == "topk" else {}
    sae = sae_class(config_class(d_in=8, d_sae=32, **options))
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn_like(parameter) * 0.1
            parameter.add_(noise.abs() if name == "threshold" else noise)
    sae.save_inference_model(folder)


if __name__ == "__main__":
    if sys.argv[1] == "save":
        save(sys.argv[2], sys.argv[3])
        answer(*sys.argv[3:6])
    else:
        answer(*sys.argv[2:5])
