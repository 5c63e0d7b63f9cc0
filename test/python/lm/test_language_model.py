"""Hook points, early stop, heads and checks on a tiny random model; no fixtures needed."""

import pytest
import torch
from tiny_models import CONFIGS, save_tiny_model

from pyworker.errors import WorkerError
from pyworker.lm.backends import LAYER_MODULES
from pyworker.lm.checks import check_context_size, check_d_in
from pyworker.lm.load import LanguageModelConfig, load_language_model

TOKENS = torch.randint(3, 64, (3, 10), generator=torch.Generator().manual_seed(0))


def load(model_name: str, **fields):
    return load_language_model(LanguageModelConfig(model_name=model_name, **fields))


def count_calls(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_the_same_values_by_both_vocabularies_of_hook_names(tiny: str) -> None:
    lens = load(tiny, hook_name="blocks.1.hook_resid_post").activations(TOKENS)
    plain = load(tiny, model_class_name="AutoModelForCausalLM").activations(TOKENS, "model.layers.1")
    assert lens.shape == (3, 10, 32)
    torch.testing.assert_close(lens, plain)


def test_the_table_of_decoder_layers_is_the_table_of_tests() -> None:
    assert set(LAYER_MODULES) == set(CONFIGS)


@pytest.mark.parametrize("architecture", LAYER_MODULES)
def test_the_hook_points_of_the_plain_model_are_those_of_the_bridge(architecture: str, tmp_path) -> None:
    lm = load(str(save_tiny_model(tmp_path, architecture)))
    last = CONFIGS[architecture].num_hidden_layers - 1
    kinds = ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_mlp_out", "hook_resid_post"]
    names = [f"blocks.{layer}.{kind}" for layer in (0, last) for kind in kinds]
    plain = [lm.activations(TOKENS, name) for name in names]
    logits = lm.logits(TOKENS)
    assert not lm._backend.bridged
    lm.hook_points()
    assert lm._backend.bridged
    for name, before in zip(names, plain, strict=True):
        after = lm.activations(TOKENS, name)
        torch.testing.assert_close(
            after, before, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    torch.testing.assert_close(lm.logits(TOKENS), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_several_hooks_are_read_in_one_pass_that_ends_at_the_last(tiny: str, compiled: bool) -> None:
    names = ["model.layers.1", "model.layers.0.mlp", "model.layers.0"]  # in any order; one inside another
    lm = load(tiny, model_class_name="AutoModelForCausalLM", compile_llm=compiled)
    layers = lm._backend.model.model.layers
    passes, beyond = count_calls(layers[0]), count_calls(layers[2])
    together = lm.activations_at(TOKENS, names)
    assert (len(passes), len(beyond)) == (1, 0)
    assert set(together) == set(names)
    for name in names:
        torch.testing.assert_close(together[name], lm.activations(TOKENS, name))
    with pytest.raises(WorkerError, match="no_such_hook"):
        lm.activations_at(TOKENS, ["model.layers.0", "no_such_hook"])


@pytest.mark.parametrize("class_name", ["HookedTransformer", "AutoModelForCausalLM"])
@pytest.mark.parametrize("autocast", [False, True])
def test_the_forward_pass_stops_at_the_hook(tiny: str, class_name: str, autocast: bool) -> None:
    name = "blocks.1.hook_resid_post" if class_name == "HookedTransformer" else "model.layers.1"
    lm = load(tiny, model_class_name=class_name, hook_name=name, autocast_lm=autocast)
    model = lm._backend.model if class_name == "AutoModelForCausalLM" else lm._backend._model
    before, after, head = (
        count_calls(m) for m in (model.model.layers[0], model.model.layers[2], model.lm_head)
    )
    lm.activations(TOKENS)
    assert (len(before), len(after), len(head)) == (1, 0, 0)
    assert lm.logits(TOKENS).shape == (3, 10, 64)
    assert (len(before), len(after), len(head)) == (2, 1, 1)


def test_the_bridge_stops_at_the_hook_too(tiny: str) -> None:
    lm = load(tiny, hook_name="blocks.1.hook_resid_mid")
    lm.activations(TOKENS)
    later, head = (count_calls(m) for m in (lm._backend.bridge().blocks[2], lm._backend._model.lm_head))
    lm.activations(TOKENS)
    assert (len(later), len(head)) == (0, 0)


def test_heads_are_flattened_or_one_is_chosen(tiny: str) -> None:
    lm = load(tiny, hook_name="blocks.1.attn.hook_z")
    all_heads, one = lm.activations(TOKENS), lm.activations(TOKENS, "blocks.1.attn.hook_z", 2)
    assert (lm.d_in(), lm.d_in("blocks.1.attn.hook_z", 2)) == (32, 8)
    torch.testing.assert_close(all_heads.unflatten(-1, (4, 8))[:, :, 2], one)


@pytest.mark.parametrize(
    ("hook_name", "head_index"), [("blocks.1.hook_resid_post", 0), ("blocks.1.attn.hook_z", 4)]
)
def test_a_head_that_is_not_there_is_an_error(tiny: str, hook_name: str, head_index: int) -> None:
    with pytest.raises(WorkerError) as failure:
        load(tiny).d_in(hook_name, head_index)
    assert failure.value.code == "HOOK_SHAPE"


def test_a_hook_without_a_vector_for_each_token_is_an_error(tiny: str) -> None:
    with pytest.raises(WorkerError) as failure:
        load(tiny).d_in("blocks.1.attn.hook_pattern")
    assert failure.value.code == "HOOK_SHAPE"


@pytest.mark.parametrize(
    ("class_name", "wrong", "right"),
    [
        ("HookedTransformer", "blocks.1.hook_rsid_post", "blocks.1.hook_resid_post"),
        ("HookedTransformer", "blocks.7.hook_resid_post", "blocks.2.hook_resid_post"),
        ("AutoModelForCausalLM", "model.layers.5", "model.layers.2"),
    ],
)
def test_a_hook_that_is_not_there_is_answered_with_the_nearest(
    tiny: str, class_name: str, wrong: str, right: str
) -> None:
    with pytest.raises(WorkerError) as failure:
        load(tiny, model_class_name=class_name, hook_name=wrong).activations(TOKENS)
    assert failure.value.code == "HOOK_NOT_FOUND"
    assert failure.value.details["nearest"][0] == right
    assert f"sae-lens-ts hooks {tiny}" in failure.value.hint


@pytest.mark.parametrize(
    ("class_name", "hook_name", "other"),
    [
        ("HookedTransformer", "model.layers.1", "AutoModelForCausalLM"),
        ("AutoModelForCausalLM", "blocks.1.hook_resid_post", "HookedTransformer"),
    ],
)
def test_a_hook_of_the_other_kind_of_model_is_answered_with_that_kind(
    tiny: str, class_name: str, hook_name: str, other: str
) -> None:
    with pytest.raises(WorkerError) as failure:
        load(tiny, model_class_name=class_name, hook_name=hook_name).activations(TOKENS)
    assert failure.value.hint.endswith(f"Or is it a name of --model_class_name {other}?")


def test_a_hook_that_no_pass_reaches_is_named_as_such(tiny: str) -> None:
    with pytest.raises(WorkerError, match="does not reach it") as failure:
        load(tiny).activations(TOKENS, "blocks.1.attn.hook_result")
    assert failure.value.code == "HOOK_NOT_FOUND"


def test_hook_points_are_listed_with_their_shapes(tiny: str) -> None:
    lens = {p.name: p for p in load(tiny).hook_points()}
    assert (lens["blocks.1.hook_resid_post"].shape, lens["blocks.1.hook_resid_post"].d_in) == ((2, 7, 32), 32)
    assert (lens["blocks.1.attn.hook_z"].shape, lens["blocks.1.attn.hook_z"].d_in) == ((2, 7, 4, 8), 32)
    assert lens["blocks.1.attn.hook_pattern"].d_in is None
    plain = {p.name: p for p in load(tiny, model_class_name="AutoModelForCausalLM").hook_points()}
    assert plain["model.layers.2"].d_in == 32


def test_every_listed_trainable_hook_gives_its_width(tiny: str) -> None:
    lm = load(tiny)
    for point in lm.hook_points():
        if point.d_in is not None:
            assert lm.d_in(point.name) == point.d_in, point.name


@pytest.mark.parametrize(
    "hook",
    [f"blocks.1.{name}" for name in ("hook_resid_pre", "hook_resid_post", "hook_mlp_out", "attn.hook_z")],
)
def test_activations_can_be_replaced_on_the_way(tiny: str, hook: str) -> None:
    lm = load(tiny, hook_name=hook)
    clean = lm.logits(TOKENS)
    torch.testing.assert_close(lm.logits(TOKENS, lambda x: x.clone()), clean)
    assert not torch.allclose(lm.logits(TOKENS, torch.zeros_like), clean, atol=1e-3)
    torch.testing.assert_close(lm.logits(TOKENS), clean)


def test_replacing_one_head_leaves_the_others(tiny: str) -> None:
    one = load(tiny, hook_name="blocks.1.attn.hook_z", hook_head_index=1)
    every = load(tiny, hook_name="blocks.1.attn.hook_z")

    def without_head_1(x_PCD: torch.Tensor) -> torch.Tensor:
        heads = x_PCD.unflatten(-1, (4, 8)).clone()
        heads[:, :, 1] = 0
        return heads.flatten(2)

    zeroed = one.logits(TOKENS, torch.zeros_like)
    torch.testing.assert_close(zeroed, every.logits(TOKENS, without_head_1))
    assert not torch.allclose(zeroed, one.logits(TOKENS), atol=1e-4)


def test_autocast_computes_in_bfloat16(tiny: str) -> None:
    name = "blocks.1.mlp.hook_post"
    assert load(tiny, hook_name=name, autocast_lm=True).activations(TOKENS).dtype == torch.bfloat16


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_a_dtype_may_be_named(tiny: str, key: str) -> None:
    lm = load(tiny, hook_name="blocks.1.hook_resid_post", model_from_pretrained_kwargs={key: "bfloat16"})
    assert lm.activations(TOKENS).dtype == torch.bfloat16


def test_centred_writing_weights_are_applied_when_asked_for(tmp_path) -> None:
    folder = str(save_tiny_model(tmp_path, "GPT2LMHeadModel"))
    name = "blocks.1.hook_resid_post"
    raw = load(folder, model_from_pretrained_kwargs={"center_writing_weights": False})
    centred = load(folder, model_from_pretrained_kwargs={"center_writing_weights": True})
    assert raw.activations(TOKENS, name).mean(-1).abs().max() > 0.01
    assert centred.activations(TOKENS, name).mean(-1).abs().max() < 1e-4


def test_ids_limits_and_special_tokens_are_the_models(tiny: str) -> None:
    lm = load(tiny)
    assert (lm.vocab_size, lm.context_limit, lm.bos_token_id, lm.eos_token_id) == (64, 32, 1, 2)
    assert lm.special_token_ids() == [1, 2]
    assert lm.tokenizer.encode("w5 w6") == [5, 6]


def test_what_does_not_fit_the_model_is_an_error(tiny: str) -> None:
    lm = load(tiny, hook_name="blocks.1.hook_resid_post")
    assert check_d_in(lm, None) == check_d_in(lm, 32) == 32
    check_context_size(lm, 32)
    with pytest.raises(WorkerError, match="32 wide") as d_in:
        check_d_in(lm, 64)
    with pytest.raises(WorkerError, match="at most 32") as context:
        check_context_size(lm, 33)
    assert [e.value.code for e in (d_in, context)] == ["D_IN_MISMATCH", "CONFIG_INVALID"]


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "GPT2LMHeadModel"])
@pytest.mark.parametrize(
    ("class_name", "hook_name"),
    [
        ("AutoModelForCausalLM", None),
        ("HookedTransformer", "blocks.1.hook_resid_post"),
        ("HookedTransformer", "blocks.1.attn.hook_z"),
    ],
)
def test_arguments_of_the_forward_pass_are_tried_when_the_model_is_loaded(
    architecture: str, class_name: str, hook_name: str | None, tmp_path
) -> None:
    folder = str(save_tiny_model(tmp_path, architecture))

    def refused(**kwargs) -> WorkerError:
        with pytest.raises(WorkerError, match="model_kwargs") as caught:
            load(folder, model_class_name=class_name, hook_name=hook_name, model_kwargs=kwargs)
        assert caught.value.code == "CONFIG_INVALID"
        return caught.value

    junk = refused(output_atentions=True)
    assert "no argument output_atentions" in junk.message and "output_attentions" in junk.hint
    assert "no argument input_ids" in refused(input_ids=[1]).message
    assert "no argument return_type" in refused(return_type="loss").message
    assert "it failed with" in refused(attention_mask="all").message
    assert "logits of [1, 1, 64]" in refused(logits_to_keep=1).message
    lm = load(folder, model_class_name=class_name, hook_name=hook_name, model_kwargs={"use_cache": False})
    assert lm.logits(TOKENS).shape == (3, 10, 64)


def test_a_path_that_is_not_there_is_answered_with_its_neighbours(tiny: str) -> None:
    with pytest.raises(WorkerError) as failure:
        load(tiny[:-1] + "x")
    assert failure.value.code == "MODEL_NOT_FOUND"
    assert tiny in failure.value.details["nearest"]


def test_a_folder_that_is_no_model_does_not_load(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WorkerError) as failure:
        load(str(tmp_path), model_class_name="AutoModelForCausalLM")
    assert failure.value.code == "MODEL_LOAD_FAILED"


def test_a_model_without_a_tokenizer_reads_tokens_only(tiny: str, tmp_path) -> None:
    import shutil

    for file in ("config.json", "model.safetensors"):
        shutil.copy(f"{tiny}/{file}", tmp_path)
    lm = load(str(tmp_path), hook_name="blocks.1.hook_resid_post")
    assert lm.activations(TOKENS).shape == (3, 10, 32)
    assert lm.special_token_ids() == [1, 2]
    with pytest.raises(WorkerError, match="without a tokenizer"):
        _ = lm.tokenizer


@pytest.mark.parametrize(
    ("class_name", "hook"),
    [
        ("AutoModelForCausalLM", "model.layers.1"),
        ("AutoModelForCausalLM", "model.layers.1.mlp"),
        ("HookedTransformer", "blocks.1.hook_resid_post"),
        ("HookedTransformer", "blocks.1.hook_mlp_out"),
        ("HookedTransformer", "blocks.1.hook_resid_mid"),
    ],
)
def test_a_compiled_model_gives_the_same_values(tiny: str, class_name: str, hook: str) -> None:
    plain = load(tiny, model_class_name=class_name, hook_name=hook)
    compiled = load(tiny, model_class_name=class_name, hook_name=hook, compile_llm=True)
    torch.testing.assert_close(compiled.activations(TOKENS), plain.activations(TOKENS), rtol=1e-4, atol=1e-4)
    assert compiled._compiled.compiled
    ablated = [lm.logits(TOKENS, torch.zeros_like) for lm in (compiled, plain)]
    torch.testing.assert_close(*ablated, rtol=1e-4, atol=1e-4)
