"""Run by the Python of SAELens: what its loaders of other libraries' files make of rows, and its checkpoints.

``judge_readers.py FOLDERS LIBRARIES`` writes random weights in the layouts of Gemma Scope, Gemma Scope 2 and Llama
Scope, and training checkpoints of the architectures that are used as JumpReLU, into FOLDERS. It loads them, and the
folders of LIBRARIES, with SAELens and writes latents and reconstruction of the same rows to FOLDERS/vectors. Its
loaders ask the hub for files; here they get them from the folders.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders as loaders
from sae_lens.registry import get_sae_training_class
from safetensors.torch import save_file

D_IN, D_SAE = 8, 32
FOLDERS, LIBRARIES = Path(sys.argv[1]), Path(sys.argv[2])
GENERATOR = torch.Generator().manual_seed(0)


def weights(d_in: int = D_IN) -> dict[str, torch.Tensor]:
    shapes = {"W_enc": (d_in, D_SAE), "W_dec": (D_SAE, d_in), "b_enc": (D_SAE,), "b_dec": (d_in,)}
    made = {name: torch.randn(shape, generator=GENERATOR) * 0.3 for name, shape in shapes.items()}
    return {**made, "threshold": torch.rand(D_SAE, generator=GENERATOR)}


def gemma_scope(path: str) -> None:
    (FOLDERS / path).mkdir(parents=True)
    np.savez(FOLDERS / path / "params.npz", **{name: t.numpy() for name, t in weights().items()})


def gemma_scope_2(path: str) -> None:
    folder = FOLDERS / path
    folder.mkdir(parents=True)
    save_file({name.lower(): t for name, t in weights().items()}, folder / "params.safetensors")
    config = {
        "architecture": "jump_relu",
        "model_name": "gemma-v3-1b-pt",
        "hf_hook_point_in": "model.layers.7.output",
    }
    (folder / "config.json").write_text(json.dumps(config))


def llama_scope(path: str) -> None:
    folder = FOLDERS / path
    (folder / "checkpoints").mkdir(parents=True)
    t = weights()
    tensors = {
        "encoder.weight": t["W_enc"].T.contiguous(),
        "encoder.bias": t["b_enc"],
        "decoder.weight": t["W_dec"].T.contiguous(),
        "decoder.bias": t["b_dec"],
    }
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    norms = {"in": 4.0, "out": 4.0}
    config = {
        "d_model": D_IN,
        "d_sae": D_SAE,
        "jump_relu_threshold": 0.5,
        "hook_point_in": "blocks.0.hook_resid_post",
    }
    (folder / "hyperparams.json").write_text(json.dumps({**config, "dataset_average_activation_norm": norms}))


def checkpoint(architecture: str, rescales: bool) -> SAE:
    """A training checkpoint with the scaling still beside it; returns what SAELens saves for use."""
    torch.manual_seed(0)
    sae_class, config_class = get_sae_training_class(architecture)
    widths = {"matryoshka_widths": [8, D_SAE]} if architecture.startswith("matryoshka") else {}
    options = {
        "k": 4,
        "rescale_acts_by_decoder_norm": rescales,
        "normalize_activations": "expected_average_only_in",
    }
    sae = sae_class(config_class(d_in=D_IN, d_sae=D_SAE, **options, **widths))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        sae.topk_threshold.fill_(0.6)
    name = f"{architecture}-{'rescaled' if rescales else 'plain'}"
    sae.save_model(FOLDERS / name)
    (FOLDERS / name / "activation_scaler.json").write_text(
        json.dumps({"scaling_factor": 0.7, "has_whitening": False})
    )
    sae.fold_activation_norm_scaling_factor(0.7)
    sae.save_inference_model(FOLDERS / "inference" / name)
    record(name, SAE.load_from_disk(FOLDERS / "inference" / name))


@torch.no_grad()
def record(name: str, sae: SAE) -> None:
    x = torch.randn(64, sae.cfg.d_in, generator=torch.Generator().manual_seed(5)) * 2 + 0.5
    latents = sae.encode(x)
    vectors = {"x": x, "latents": latents.contiguous(), "reconstruction": sae.decode(latents).contiguous()}
    (FOLDERS / "vectors").mkdir(exist_ok=True)
    save_file(vectors, FOLDERS / "vectors" / f"{name.replace('/', '_')}.safetensors")


def load(loader, repo: str, path: str, root: Path, overrides: dict | None = None) -> SAE:
    """As ``SAE.from_pretrained`` does it, with files from ``root`` for those of the hub."""
    loaders.hf_hub_download = lambda repo_id=None, filename="", subfolder=None, **_: str(
        root / (subfolder or "") / filename
    )
    cfg, state, _ = loader(repo, path, "cpu", False, {"dtype": "float32", **(overrides or {})})
    scaled = cfg.get("normalize_activations") == "expected_average_only_in"
    cfg = loaders.handle_config_defaulting(cfg)
    sae_class = SAE.get_sae_class_for_architecture(cfg["architecture"])
    sae = sae_class.from_dict(cfg)
    sae.load_state_dict(state)
    if scaled:
        sae.fold_activation_norm_scaling_factor(D_IN**0.5 / 4.0)
    return sae


if __name__ == "__main__":
    for path in ("layer_3/width_16k/average_l0_1", "embedding/width_4k/average_l0_6"):
        gemma_scope(path)
        sizes = {"d_in": D_IN, "d_sae": D_SAE}
        loader = loaders.gemma_2_sae_huggingface_loader
        record(path, load(loader, "google/gemma-scope-2b-pt-res", path, FOLDERS, sizes))
    path = "resid_post/layer_7_width_16k_l0_small"
    gemma_scope_2(path)
    loaders.get_safetensors_tensor_shapes = lambda *_: {"w_enc": [D_IN, D_SAE], "w_dec": [D_SAE, D_IN]}
    record(path, load(loaders.gemma_3_sae_huggingface_loader, "google/gemma-scope-2-1b-pt", path, FOLDERS))
    llama_scope("Llama3_1-8B-Base-L0R-8x")
    loader = loaders.llama_scope_sae_huggingface_loader
    record("Llama3_1-8B-Base-L0R-8x", load(loader, "fnlp/x", "Llama3_1-8B-Base-L0R-8x", FOLDERS))
    for architecture in ("batchtopk", "matryoshka_batchtopk"):
        for rescales in (True, False):
            checkpoint(architecture, rescales)
    loader = loaders.dictionary_learning_sae_huggingface_loader_1
    for folder in sorted(LIBRARIES.iterdir()):
        # SAELens has no loader for AutoEncoderNew: it looks for a bias that this class names otherwise.
        if (folder / "ae.pt").exists() and folder.name != "AutoEncoderNew":
            record(folder.name, load(loader, "canrager/lm_sae", folder.name, LIBRARIES))
