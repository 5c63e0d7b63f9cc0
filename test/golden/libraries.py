"""Writes ``test/golden/libraries/``: SAE folders made by other libraries, and what those libraries make of rows.

    python test/golden/libraries.py

in an environment with torch, ``eai-sparsify==1.3.3`` and ``dictionary-learning==0.1.0``. Only the modules of their
SAEs are imported, so ``--no-deps`` will do with einops, natsort, simple-parsing, accelerate, huggingface_hub, tqdm and
safetensors beside them. The run of record: torch 2.13.0, CPU.

Each folder is as the library saves it; beside it ``<name>.safetensors`` with ``x``, ``latents`` and ``reconstruction``.
"""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

HERE = Path(__file__).with_suffix("")
D_IN, D_SAE, K, ROWS = 6, 12, 3, 16


def library(name: str) -> None:
    """Make ``name`` importable module by module, without what its ``__init__`` imports."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.submodule_search_locations is not None, f"{name} is not installed"
    package = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


def shake(module: nn.Module) -> nn.Module:
    """Weights as after training: no bias is zero, and thresholds cut some latents off."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.abs() * 0.5 if name == "threshold" else noise * 0.3)
        if isinstance(getattr(module, "threshold", None), Tensor) and "threshold" in dict(
            module.named_buffers()
        ):
            module.threshold.fill_(0.8)
    return module


def record(name: str, latents: Tensor, reconstruction: Tensor, x: Tensor) -> None:
    vectors = {"x": x, "latents": latents, "reconstruction": reconstruction}
    save_file(
        {key: value.detach().contiguous() for key, value in vectors.items()}, HERE / f"{name}.safetensors"
    )


def sparsify(x: Tensor) -> None:
    library("sparsify")
    config = importlib.import_module("sparsify.config").SparseCoderConfig
    coder = importlib.import_module("sparsify.sparse_coder").SparseCoder
    for name, normalize in (("sparsify", True), ("sparsify_plain", False)):
        folder = HERE / name / "layers.2"
        sae = shake(coder(D_IN, config(num_latents=D_SAE, k=K, normalize_decoder=normalize)))
        sae.save_to_disk(folder)
        sae = coder.load_from_disk(folder)
        values, indices, _ = sae.encode(x)
        latents = torch.zeros(ROWS, D_SAE).scatter(-1, indices, values)
        record(name, latents, sae.decode(values, indices), x)


def dictionary_learning(x: Tensor) -> None:
    library("dictionary_learning")
    dictionaries = importlib.import_module("dictionary_learning.dictionary")
    trainers = {
        name: getattr(importlib.import_module(f"dictionary_learning.trainers.{module}"), name)
        for name, module in (
            ("AutoEncoderTopK", "top_k"),
            ("BatchTopKSAE", "batch_top_k"),
            ("MatryoshkaBatchTopKSAE", "matryoshka_batch_top_k"),
        )
    }
    made = {
        "AutoEncoder": dictionaries.AutoEncoder(D_IN, D_SAE),
        "AutoEncoderNew": dictionaries.AutoEncoderNew(D_IN, D_SAE),
        "GatedAutoEncoder": dictionaries.GatedAutoEncoder(D_IN, D_SAE),
        "JumpReluAutoEncoder": dictionaries.JumpReluAutoEncoder(D_IN, D_SAE),
        "AutoEncoderTopK": trainers["AutoEncoderTopK"](D_IN, D_SAE, K),
        "BatchTopKSAE": trainers["BatchTopKSAE"](D_IN, D_SAE, K),
        "MatryoshkaBatchTopKSAE": trainers["MatryoshkaBatchTopKSAE"](D_IN, D_SAE, K, [4, 8]),
    }
    for name, dictionary in made.items():
        folder = HERE / name
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(shake(dictionary).state_dict(), folder / "ae.pt")
        trainer = {
            "dict_class": name,
            "activation_dim": D_IN,
            "dict_size": D_SAE,
            "layer": 3,
            "lm_name": "EleutherAI/pythia-70m",
        }
        trainer |= {"submodule_name": "resid_post_layer_3"} | ({"k": K} if "TopK" in name else {})
        (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
        latents = dictionary.encode(x)
        record(name, latents, dictionary.decode(latents), x)


if __name__ == "__main__":
    torch.manual_seed(0)
    rows = torch.randn(ROWS, D_IN) * 2 + 0.5
    sparsify(rows)
    dictionary_learning(rows)
