"""What a direction at a hook does to the logits is what adding it there does, the final norm taken away."""

import sys
from pathlib import Path

import pytest
import torch

from pyworker.features import logit_effects, logits
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.lm.residual import layer_of

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from tiny_models import save_tiny_model

TOKENS = torch.tensor([[1, 5, 9, 33]])


class Sum(torch.nn.Module):
    """In place of the final norm: the logits are then linear in the residual stream."""

    def forward(self, x):
        return x


@pytest.fixture(scope="module", params=["LlamaForCausalLM", "GPT2LMHeadModel"])
def lm(request, tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"), request.param)
    model = load_language_model(LanguageModelConfig(model_name=str(folder)))
    core = model._backend.model
    if request.param == "LlamaForCausalLM":
        core.model.norm = Sum()
    else:
        core.transformer.ln_f = Sum()
    return model


@pytest.mark.parametrize(
    ("hook", "head"),
    [
        ("blocks.2.hook_resid_post", None),
        ("blocks.2.hook_mlp_out", None),
        ("blocks.2.attn.hook_z", None),
        ("blocks.2.attn.hook_z", 3),
    ],
)
def test_a_direction_changes_the_logits_by_what_is_said(lm, hook, head):
    width = lm.d_in(hook, head)
    directions_FD = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    residual_FR = lm.into_residual(directions_FD, hook, head)
    if hook.endswith(
        "hook_z"
    ):  # the MLP of the layer sees what the heads write, so that this path is compared alone
        joined = lm.activations(TOKENS, "blocks.2.hook_attn_out")
        for direction_D, residual_R in zip(directions_FD, residual_FR, strict=True):
            seen = []
            point = lm._point("blocks.2.hook_attn_out")
            with lm._point(hook).attach(_plus(direction_D, head)), point.attach(seen.append):
                lm._run(TOKENS)
            torch.testing.assert_close(seen[0] - joined, residual_R.expand_as(joined), rtol=1e-3, atol=1e-4)
        return
    clean = lm.logits(TOKENS)
    effects = logit_effects(residual_FR, lm.unembedding(), 4)
    for number, direction_D in enumerate(directions_FD):
        changed = (lm.logits(TOKENS, direction_D.__add__, hook) - clean)[0, -1]
        best, worst = changed.topk(4), changed.topk(4, largest=False)
        assert [t for t, _ in effects.positive[number]] == best.indices.tolist()
        assert [t for t, _ in effects.negative[number]] == worst.indices.tolist()
        assert [v for _, v in effects.positive[number]] == pytest.approx(best.values.tolist(), rel=1e-3)
        edges = torch.tensor(effects.edges[number])
        assert edges[[0, -1]].tolist() == pytest.approx(
            [float(changed.min()), float(changed.max())], rel=1e-3
        )
        counts, _ = torch.histogram(residual_FR[number] @ lm.unembedding().T, edges)
        assert (counts - torch.tensor(effects.counts[number])).abs().sum() <= 2  # at an edge
        assert sum(effects.counts[number]) == len(changed)


def test_effects_are_computed_in_float32_whatever_the_type_of_the_model(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    directions_FD = torch.randn(5, 32, generator=generator)
    unembedding_VD = torch.randn(301, 32, generator=generator).bfloat16()
    exact_FV = directions_FD.double() @ unembedding_VD.double().T
    for block in (logits.VALUES_AT_ONCE, 100 * 32, 1):
        monkeypatch.setattr(logits, "VALUES_AT_ONCE", block)
        effects = logit_effects(directions_FD, unembedding_VD, 20)
        for found, best in ((effects.positive, exact_FV.topk(20)), (effects.negative, (-exact_FV).topk(20))):
            assert [[t for t, _ in one] for one in found] == best.indices.tolist()
            values = torch.tensor([[v for _, v in one] for one in found], dtype=torch.float64)
            torch.testing.assert_close(values.abs(), best.values.abs(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_heads_of_a_bfloat16_model_write_in_float32(tmp_path, kind):
    lm = load_language_model(LanguageModelConfig(model_name=str(save_tiny_model(tmp_path, kind))))
    model = lm._backend.model.to(torch.bfloat16)
    join = model.model.layers[1].self_attn.o_proj if kind[0] == "L" else model.transformer.h[1].attn.c_proj
    weight_RZ = join.weight if kind[0] == "L" else join.weight.T
    rows_FZ = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    exact_FR = rows_FZ.double() @ weight_RZ.double().T
    found_FR = lm.into_residual(rows_FZ, "blocks.1.attn.hook_z")
    assert found_FR.dtype == torch.float32
    torch.testing.assert_close(found_FR.double(), exact_FR, rtol=1e-5, atol=1e-6)


def _plus(direction_D, head):
    def visit(x):
        new = x.clone()
        if head is None:
            return new + direction_D.view(x.shape[2:])
        new[:, :, head] += direction_D
        return new

    return visit


def test_what_is_inside_a_layer_has_no_way_to_the_logits_by_weights_alone(lm):
    rows = torch.ones(1, 32)
    assert lm.into_residual(rows, "blocks.1.attn.hook_q") is None
    assert lm.into_residual(rows, "blocks.1.mlp.hook_post") is None


def test_modules_of_the_model_itself_are_known_by_their_place(lm):
    rows = torch.ones(1, 32)
    prefix = "model.layers" if "Llama" in type(lm._backend.model).__name__ else "transformer.h"
    attn = "self_attn" if prefix == "model.layers" else "attn"
    for name in (f"{prefix}.1", f"{prefix}.1.{attn}", f"{prefix}.1.mlp"):
        assert lm.into_residual(rows, name) is rows
    assert lm.into_residual(rows, f"{prefix}.1.mlp.act_fn") is None


def test_the_layer_of_a_hook_is_its_own_whatever_numbers_stand_before_it(lm):
    prefix = "model.layers" if "Llama" in type(lm._backend.model).__name__ else "transformer.h"
    assert (
        lm.layer_of("blocks.2.attn.hook_z")
        == lm.layer_of(f"{prefix}.2.mlp")
        == lm.layer_of(f"{prefix}.2")
        == 2
    )
    assert lm.layer_of("hook_embed") is lm.layer_of("lm_head") is lm.layer_of(prefix) is None
    tower = torch.nn.Module()
    tower.gpt2x4 = torch.nn.Module()
    tower.gpt2x4.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(12))
    assert layer_of(tower, "gpt2x4.layers.11") == 11
