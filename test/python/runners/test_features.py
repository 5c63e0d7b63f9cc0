"""The files that ``features`` writes, of SAEs as they are saved, are those of a matrix of all tokens and latents."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from pyworker.data.held_out import open_reader
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.runners.features import features
from pyworker.saes import create_sae, load_sae, save_inference, seeded_generator, to_inference
from pyworker.train import ActivationScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from small_work import Listener
from tiny_models import save_tiny_model

LATENTS, CONTEXT, SEQUENCES = 80, 16, 40
RESIDUAL, HEADS = "blocks.1.hook_resid_post", "blocks.1.attn.hook_z"
ROUNDED = 5.5e-5
"""Numbers have five significant digits, and the passes other batches."""
CASES = {
    "standard": (RESIDUAL, None, "standard", {}),
    "topk": (RESIDUAL, None, "topk", {"k": 6}),
    "jumprelu": (RESIDUAL, None, "jumprelu", {"jumprelu_init_threshold": 0.5}),
    "gated": (RESIDUAL, None, "gated", {}),
    "batchtopk": (RESIDUAL, None, "batchtopk", {"k": 6}),
    "matryoshka": (RESIDUAL, None, "matryoshka_batchtopk", {"matryoshka_widths": [16, 48]}),
    "all heads": (HEADS, None, "topk", {"k": 6}),
    "one head": (HEADS, 1, "jumprelu", {"jumprelu_init_threshold": 0.5}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and text."""
    folder = tmp_path_factory.mktemp("features")
    save_tiny_model(folder / "model")
    words = torch.randint(5, 60, (30, 50), generator=torch.Generator().manual_seed(0)).tolist()
    lines = [json.dumps({"text": " ".join(f"w{number}" for number in row)}) for row in words]
    (folder / "text.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def lm(place):
    return load_language_model(LanguageModelConfig(model_name=str(place / "model")))


@pytest.fixture(scope="module", params=CASES)
def written(request, place, lm, make_config):
    """The files as a page reads them, and what they are to say: tokens, which of them count, dense latents, the SAE."""
    hook, head, architecture, options = CASES[request.param]
    run = {"model_name": str(place / "model"), "hook_name": hook, "hook_head_index": head}
    run |= {"dataset_path": str(place / "text.jsonl"), "context_size": CONTEXT}
    config = make_config(architecture, run, d_in=lm.d_in(hook, head), d_sae=LATENTS, **options)
    reader = iter(open_reader(config, lm, config.dataset_path, "train"))
    tokens_EC = torch.stack([torch.as_tensor(next(reader)) for _ in range(SEQUENCES)]).long()
    x_ECD = lm.activations(tokens_EC, hook, head)
    sae = to_inference(create_sae(config.sae, seeded_generator(1)), ActivationScaler(None))
    sae.b_dec.data = x_ECD.mean((0, 1))
    sae.W_enc.data /= ((x_ECD - sae.b_dec) @ sae.W_enc).std()
    if "batchtopk" in architecture:
        sae.threshold.data.fill_(0.5)
    name = request.param.replace(" ", "-")
    save_inference(sae, place / name, {})
    options = {
        **{"latents": "all", "top_acts_group_size": 5, "n_quantiles": 2, "quantile_group_size": 3},
        **{"buffer": [4, 2], "seed": 3, "n_tokens": SEQUENCES * CONTEXT, "dataset_split": "train"},
        **{"dataset_path": config.dataset_path, "context_size": CONTEXT, "exclude_special_tokens": True},
        **{"batch_size_prompts": 7, "model_name": None, "model_class_name": None, "hook_name": None},
        "device": "cpu",
    }
    (place / f"{name}-data").mkdir()
    at = {"path": str(place / name), "overrides": {}, "norm_scaling_factor": None}
    params = {
        "config": msgspec.to_builtins(config),
        "features": options,
        "latents": None,
        "sae": {**at, "hook_name": hook, "hook_head_index": head},
        "folder": str(place / f"{name}-data"),
    }
    about = features(params, Listener())
    loaded, _, _ = load_sae(place / name)
    latents_ECF = loaded.encode(x_ECD.flatten(0, 1)).view(SEQUENCES, CONTEXT, LATENTS)
    counted_EC = ~torch.isin(tokens_EC, torch.tensor(lm.special_token_ids()))
    return (
        about,
        read(place / f"{name}-data"),
        tokens_EC,
        counted_EC,
        latents_ECF * counted_EC[..., None],
        loaded,
    )


def read(folder: Path) -> dict[str, list]:
    """Tables of a folder of data, and all chunks as one."""
    found = {"chunk": []}
    for path in sorted(folder.iterdir()):
        head, value = path.read_text().removesuffix(");\n").split(", ", 1)
        kind = head.split('"')[1]
        found[kind] = found["chunk"] + json.loads(value) if kind == "chunk" else json.loads(value)
    return found


def test_the_table_is_that_of_the_dense_latents(written):
    about, files, _, counted_EC, latents_ECF, sae = written
    rows_TF, table = latents_ECF.flatten(0, 1).double(), files["latents"]
    n_active_F = (rows_TF > 0).sum(0)
    assert about["n_tokens"] == counted_EC.sum() and about["n_excluded_tokens"] == (~counted_EC).sum() > 0
    assert about["n_dead"] == (n_active_F == 0).sum() < LATENTS / 2
    assert 0.02 < n_active_F.sum() / counted_EC.sum() / LATENTS < 0.7
    expected = {
        "index": torch.arange(LATENTS),
        "density": n_active_F / counted_EC.sum(),
        "max_activation": rows_TF.amax(0),
        "mean_activation": rows_TF.sum(0) / n_active_F.clamp(min=1),
        "decoder_norm": sae.W_dec.norm(dim=1),
    }
    for name, values_F in expected.items():
        assert table[name] == pytest.approx(values_F.tolist(), rel=ROUNDED), name


def test_examples_are_the_places_of_the_largest_dense_latents(written, lm):
    _, files, tokens_EC, _, latents_ECF, _ = written
    for latent, detail in enumerate(files["chunk"]):
        counts = detail["activation_histogram"]["counts"]
        assert sum(counts) == (latents_ECF[..., latent] > 0).sum()
        peaks_E, at_E = latents_ECF[..., latent].max(1)
        values, sequences = peaks_E.sort(descending=True, stable=True)
        expected = [int(e) for e, v in zip(sequences, values, strict=True) if v > 0][:5]
        examples = detail["groups"][0]["examples"] if detail["groups"] else []
        assert [one["sequence"] for one in examples] == expected
        for one in examples:
            sequence, position = one["sequence"], one["position"]
            assert position == at_E[sequence]
            span = slice(max(0, position - 4), position + 3)
            assert one["tokens"] == [lm.token_text(token) for token in tokens_EC[sequence, span].tolist()]
            window = latents_ECF[sequence, span, latent].tolist()
            assert one["values"] == pytest.approx(window, rel=ROUNDED, abs=1e-9)


def test_logits_and_neighbours_are_those_of_the_weights_and_of_the_dense_latents(written, lm, request):
    about, files, _, counted_EC, latents_ECF, sae = written
    assert about["no_logits"] is None and about["n_co_activation_tokens"] == counted_EC.sum()
    hook, head, _, _ = CASES[request.node.callspec.params["written"]]
    logits_FV = lm.into_residual(sae.W_dec, hook, head).double() @ lm.unembedding().double().T
    active_TF = (latents_ECF[counted_EC] > 0).double()
    phi_FF = torch.corrcoef(active_TF.T).nan_to_num(-1).fill_diagonal_(-1)
    phi_FF[active_TF.T @ active_TF < 3] = -1
    for latent, detail in enumerate(files["chunk"]):
        for key, signed_V in (
            ("positive_logits", logits_FV[latent]),
            ("negative_logits", -logits_FV[latent]),
        ):
            best = signed_V.topk(10)
            assert [token for token, _ in detail[key]] == [
                lm.token_text(token) for token in best.indices.tolist()
            ]
            assert [abs(v) for _, v in detail[key]] == pytest.approx(best.values.abs().tolist(), rel=ROUNDED)
        together = phi_FF[latent].topk(10).values
        assert [v for _, v in detail["co_active"]] == pytest.approx(
            together[together > 0].tolist(), rel=ROUNDED
        )
