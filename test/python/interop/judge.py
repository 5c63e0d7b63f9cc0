"""Run by the Python of SAELens, not by ours: what SAELens gets from SAEs, ours and its own.

``judge.py ROWS OURS THEIRS`` saves an SAE of each architecture in THEIRS, unfolded decoder norms and all, then loads
every SAE of both folders and writes its latents and reconstruction of ROWS beside it, ``<name>.safetensors``, or
``<name>.refused`` with the reason when SAELens does not load it. The fields of its configurations go to
``THEIRS/fields.json``.
"""

import json
import sys
from pathlib import Path

import torch
from judge_fields import all_fields
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from safetensors.torch import load_file, save_file


def save(architecture: str, folder: Path) -> None:
    torch.manual_seed(0)
    sae_class, config_class = get_sae_training_class(architecture)
    options = {"k": 4} if architecture.endswith("topk") else {}
    if architecture == "matryoshka_batchtopk":
        options["matryoshka_widths"] = [4, 12]
    sae = sae_class(config_class(d_in=8, d_sae=32, **options))
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn_like(parameter) * 0.1
            parameter.add_(noise.abs() if name == "threshold" else noise)
        if architecture.endswith("batchtopk"):
            sae.topk_threshold.fill_(0.07)
    sae.save_inference_model(str(folder))


@torch.no_grad()
def judge(folder: Path, x: torch.Tensor) -> None:
    try:
        sae = SAE.load_from_disk(str(folder))
    except Exception as refusal:
        folder.with_suffix(".refused").write_text(repr(refusal))
        return
    latents = sae.encode(x)
    result = {"latents": latents.contiguous(), "reconstruction": sae.decode(latents).contiguous()}
    save_file(result, folder.with_suffix(".safetensors"))


if __name__ == "__main__":
    rows, ours, theirs = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    (theirs / "fields.json").write_text(json.dumps(all_fields()))
    for architecture in ("standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka_batchtopk"):
        save(architecture, theirs / architecture)
    for folder in [*ours.iterdir(), *theirs.iterdir()]:
        if folder.is_dir():
            judge(folder, load_file(rows)["x"])
