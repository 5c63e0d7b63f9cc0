"""One pass with bounded memory finds what a matrix of all tokens and latents holds."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pyworker.features import Examples, co_activation, collect, collector, entries, most_similar
from pyworker.features.histogram import activation_edges
from pyworker.lm.load import LanguageModelConfig, load_language_model
from pyworker.saes import create_sae, seeded_generator
from pyworker.saes.inference import to_inference

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from tiny_models import save_tiny_model

SEQUENCES, CONTEXT, LATENTS, SEED = 60, 24, 96, 5
EXAMPLES = Examples(top=4, n_ranges=3, of_range=3, before=5, after=2)
SPECIAL = [1, 2]
TOKENS = torch.randint(1, 64, (SEQUENCES, CONTEXT), generator=torch.Generator().manual_seed(0))


class Unscaled:
    def fold_into(self, sae):
        """Nothing was done to the activations."""


STORIES, RESIDUAL, HEADS = "stories260K", "blocks.2.hook_resid_post", "blocks.2.attn.hook_z"
CASES = {
    "topk": ("a random model", "model.layers.1", None, "topk", {"k": 6}),
    "standard": (STORIES, RESIDUAL, None, "standard", {}),
    "jumprelu": (STORIES, RESIDUAL, None, "jumprelu", {"jumprelu_init_threshold": 0.3}),
    "gated": (STORIES, RESIDUAL, None, "gated", {}),
    "batchtopk": (STORIES, RESIDUAL, None, "batchtopk", {"k": 6}),
    "matryoshka": (STORIES, RESIDUAL, None, "matryoshka_batchtopk", {"matryoshka_widths": [24, 48]}),
    "all heads": (STORIES, HEADS, None, "topk", {"k": 6}),
    "one head": (STORIES, HEADS, 3, "standard", {}),
}


@pytest.fixture(scope="module")
def activations(request, tmp_path_factory):
    """x_ECD of a model at a place. Of each there is one pass, whatever the number of SAEs."""

    @cache
    def model(name):
        if name == STORIES:
            return load_language_model(LanguageModelConfig(model_name=request.getfixturevalue("stories")))
        folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
        config = LanguageModelConfig(model_name=str(folder), model_class_name="AutoModelForCausalLM")
        return load_language_model(config)

    @cache
    def found(name, hook, head):
        return model(name).activations(TOKENS, hook, head)

    return found


@pytest.fixture(scope="module", params=CASES)
def case(request, activations, make_config):
    """x_ECD and an SAE of it."""
    name, hook, head, architecture, options = CASES[request.param]
    x_ECD = activations(name, hook, head)
    config = make_config(architecture, {}, d_in=x_ECD.shape[-1], d_sae=LATENTS, **options)
    made = to_inference(create_sae(config.sae, seeded_generator(0)), Unscaled())
    made.b_dec.data = x_ECD.mean((0, 1))
    made.W_enc.data /= ((x_ECD - made.b_dec) @ made.W_enc).std()
    if architecture == "gated":
        made.r_mag.data.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(2))
        made.b_mag.data += 0.1  # a magnitude below zero closes what the gate lets through
    if "batchtopk" in architecture:
        made.threshold.data.fill_(0.2)  # as a training would find one
    offset_F = made.b_gate if architecture == "gated" else made.b_enc
    offset_F.data -= torch.arange(LATENTS) / LATENTS  # some are rarer than others
    offset_F.data[7] = -1e6  # and one is dead
    return x_ECD, made.eval()


@pytest.fixture(scope="module")
def dense(case):
    """latents_ECF of everything, tokens that are left out set to zero; and which tokens count."""
    x_ECD, sae = case
    latents = sae.encode(x_ECD.flatten(0, 1)).view(SEQUENCES, CONTEXT, LATENTS)
    counted = ~torch.isin(TOKENS, torch.tensor(SPECIAL))
    return latents * counted[..., None], counted


def collected(case, wanted=None, batch=7):
    x_ECD, sae = case
    wanted_F = torch.arange(LATENTS) if wanted is None else torch.tensor(wanted)
    x = iter(x_ECD.split(batch))
    return collect(sae, lambda _: next(x), TOKENS.split(batch), SPECIAL, wanted_F, EXAMPLES, SEED)


def window(values_C, position):
    at = [position + n for n in range(-EXAMPLES.before, EXAMPLES.after + 1)]
    return [float(values_C[n]) if 0 <= n < CONTEXT else 0.0 for n in at]


def shown(slots, row):
    at = (slots.value_FS[row] > 0).nonzero().squeeze(-1)
    places = zip(slots.sequence_FS[row, at].tolist(), slots.position_FS[row, at].tolist(), strict=True)
    return list(places), slots.value_FS[row, at], slots.window_FSW[row, at]


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def order(latent: int, token: int) -> int:
    return splitmix((splitmix((latent + splitmix(SEED)) % 2**64) + token) % 2**64) % 2**63


def test_density_moments_and_histogram_are_those_of_the_dense_matrix(case, dense):
    found, (latents, counted) = collected(case), dense
    assert found.n_tokens == counted.sum() and found.n_excluded == (~counted).sum() > 0
    rows_TF = latents.flatten(0, 1)
    assert torch.equal(found.n_active_F, (rows_TF > 0).sum(0))
    assert found.n_active_F[7] == 0 and (found.n_active_F > 0).sum() > LATENTS // 3
    assert torch.equal(found.n_sequences_F, (latents > 0).any(1).sum(0))
    torch.testing.assert_close(found.max_F, rows_TF.amax(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.sum_F, rows_TF.double().sum(0), rtol=1e-5, atol=0)
    edges = np.append(activation_edges().numpy(), np.inf)
    for latent in range(LATENTS):
        values = rows_TF[:, latent][rows_TF[:, latent] > 0].numpy()
        assert np.abs(found.bins_FH[latent].numpy() - np.histogram(values, edges)[0]).sum() <= 2  # at an edge
    assert torch.equal(found.bins_FH.sum(1), found.n_active_F)


@pytest.mark.parametrize("batch", [7, SEQUENCES])
def test_top_examples_are_the_sequences_with_the_largest_peaks(case, dense, batch):
    found, (latents, _) = collected(case, batch=batch), dense
    for latent in range(LATENTS):
        peaks_E = latents[..., latent].amax(1)
        values, sequences = peaks_E.sort(descending=True, stable=True)
        wanted = [e for e, v in zip(sequences.tolist(), values, strict=True) if v > 0][: EXAMPLES.top]
        places, value_S, window_SW = shown(found.top, latent)
        assert [e for e, _ in places] == wanted
        assert [p for _, p in places] == [int(latents[e, :, latent].argmax()) for e in wanted]
        torch.testing.assert_close(value_S, values[: len(wanted)], rtol=1e-5, atol=1e-6)
        expected = torch.tensor([window(latents[e, :, latent], p) for e, p in places]).reshape(
            window_SW.shape
        )
        torch.testing.assert_close(window_SW, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [7, SEQUENCES])
def test_examples_of_a_range_are_those_of_its_tokens_that_come_first_in_a_random_order(case, dense, batch):
    found, (latents, _) = collected(case, batch=batch), dense
    for latent in range(0, LATENTS, 5):
        values_T = latents[..., latent].flatten().numpy()
        tokens = np.nonzero(values_T)[0]
        if len(tokens) == 0:
            continue
        half_octave = np.floor(2 * np.log2(values_T[tokens].astype(np.float64))).astype(int)
        stratum = np.minimum(half_octave.max() - half_octave, EXAMPLES.n_ranges - 1)
        expected = []
        for s in range(EXAMPLES.n_ranges):
            inside = sorted(tokens[stratum == s].tolist(), key=lambda token: order(latent, token))
            expected += [divmod(token, CONTEXT) for token in inside[: EXAMPLES.of_range]]
        places, _, window_SW = shown(found.sampled, latent)
        assert places == expected
        torch.testing.assert_close(
            window_SW,
            torch.tensor([window(latents[e, :, latent], p) for e, p in places]),
            rtol=1e-5,
            atol=1e-6,
        )


def test_some_latents_alone_are_found_as_they_are_among_all(case):
    wanted = [3, 7, 40, 95]
    some, every = collected(case, wanted), collected(case)
    for name in ("n_active_F", "max_F", "bins_FH"):
        assert torch.equal(getattr(some, name), getattr(every, name)[wanted])
    for name in ("sequence_FS", "position_FS", "value_FS", "window_FSW"):
        assert torch.equal(getattr(some.top, name), getattr(every.top, name)[wanted])
        assert torch.equal(getattr(some.sampled, name), getattr(every.sampled, name)[wanted])
    together = list(every.co_activation.strongest(torch.arange(LATENTS), 5))
    assert list(some.co_activation.strongest(torch.tensor(wanted), 5)) == [together[n] for n in wanted]


def level(token: int) -> int:
    """Zeros at the end of the number of a token in the random order."""
    x = splitmix((splitmix(SEED) + token) % 2**64) % 2**63
    return (x & -x).bit_length() - 1


@pytest.mark.parametrize("kept", [1, 0.2, 0])
def test_co_activation_is_the_correlation_of_being_active_on_a_random_share_of_the_tokens(
    case, dense, monkeypatch, kept
):
    latents, counted = dense
    every = (latents[counted] > 0).double()
    most_entries = int(kept * every.sum())
    monkeypatch.setattr(co_activation, "MOST_ENTRIES", most_entries)
    monkeypatch.setattr(co_activation, "PAIRS_AT_ONCE", 20_000)
    monkeypatch.setattr(co_activation, "COUNTS_AT_ONCE", 4_000)
    found = collected(case).co_activation
    levels_T = torch.tensor([level(token) for token in range(SEQUENCES * CONTEXT)])[counted.flatten()]
    least = next(n for n in range(64) if every[levels_T >= n].sum() <= most_entries)
    active = every[levels_T >= least]
    assert found.n_tokens == len(active)
    if kept == 0:
        assert list(found.strongest(torch.arange(LATENTS), 5)) == [[]] * LATENTS
        return
    assert (least > 0) == (kept < 1) and len(active) > 100
    phi_FF = torch.corrcoef(active.T).nan_to_num(-1.0).fill_diagonal_(-1.0)
    phi_FF[active.T @ active < co_activation.LEAST_TOGETHER] = -1.0
    for latent, pairs in enumerate(found.strongest(torch.arange(LATENTS), 5)):
        best = phi_FF[latent].topk(5).values
        assert [v for _, v in pairs] == pytest.approx(best[best > 0].tolist(), rel=1e-5)
        assert [float(phi_FF[latent, other]) for other, _ in pairs] == pytest.approx(
            [v for _, v in pairs], rel=1e-5
        )


def test_one_token_on_which_too_many_are_active_takes_no_neighbours_from_the_others():
    n_latents = 2**14 + 1
    assert n_latents**2 > co_activation.MOST_PAIRS
    for crowded in (0, 9):  # the first token too
        found = co_activation.CoActivation(n_latents, SEED, torch.device("cpu"))
        found.count(torch.arange(100))
        for token in range(100):
            active = torch.arange(n_latents) if token == crowded else torch.tensor([5, 8]) + (token % 2)
            found.add(torch.full_like(active, token), active)
        assert 10 < found.n_tokens < 100
        assert list(found.strongest(torch.tensor([5, 0]), 3)) == [[(8, pytest.approx(1.0))], []]


def test_most_similar_latents_have_the_largest_cosine_of_their_decoder_rows(case):
    W_dec = case[1].W_dec
    cosine_FF = torch.nn.functional.cosine_similarity(W_dec[:, None], W_dec[None], dim=-1)
    cosine_FF.fill_diagonal_(-2)
    for latent, pairs in enumerate(most_similar(W_dec, torch.arange(LATENTS), 4)):
        assert [other for other, _ in pairs] == cosine_FF[latent].topk(4).indices.tolist()
        assert [v for _, v in pairs] == pytest.approx(cosine_FF[latent].topk(4).values.tolist(), rel=1e-5)


def test_what_does_not_fit_into_the_memory_of_a_part_is_cut_and_nothing_changes(case, monkeypatch):
    whole = collected(case)
    for most in (3000, 200):  # some sequences, some latents of one
        monkeypatch.setattr(entries, "MOST_ENTRIES", most)
        monkeypatch.setattr(collector, "MOST_ENTRIES", most)
        parted = collected(case)
        assert (parted.n_tokens, parted.n_excluded) == (whole.n_tokens, whole.n_excluded)
        for name in ("n_active_F", "n_sequences_F", "max_F", "bins_FH"):
            assert torch.equal(getattr(parted, name), getattr(whole, name)), name
        torch.testing.assert_close(parted.sum_F, whole.sum_F, rtol=1e-12, atol=0)
        for name in ("sequence_FS", "position_FS", "value_FS", "window_FSW"):
            assert torch.equal(getattr(parted.top, name), getattr(whole.top, name)), name
            assert torch.equal(getattr(parted.sampled, name), getattr(whole.sampled, name)), name
        together = [list(one.co_activation.strongest(torch.arange(LATENTS), 5)) for one in (parted, whole)]
        assert together[0] == together[1]
