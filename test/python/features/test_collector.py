"""One pass with bounded memory finds what a matrix of all tokens and latents holds."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pyworker.features import Examples, co_activation, collect, most_similar
from pyworker.features.entries import Entries
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


@pytest.fixture(scope="module", params=["a random model", "stories260K"])
def lm(request, tmp_path_factory):
    if request.param == "stories260K":
        config = LanguageModelConfig(
            model_name=request.getfixturevalue("stories"), hook_name="blocks.2.hook_resid_post"
        )
    else:
        folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
        config = LanguageModelConfig(
            model_name=str(folder), model_class_name="AutoModelForCausalLM", hook_name="model.layers.1"
        )
    model = load_language_model(config)
    model.hook_name = config.hook_name
    return model


@pytest.fixture(scope="module")
def sae(lm, make_config):
    is_real = lm.model_class_name == "HookedTransformer"
    architecture, options = ("standard", {}) if is_real else ("topk", {"k": 6})
    config = make_config(architecture, {}, d_in=lm.d_in(), d_sae=LATENTS, **options)
    made = to_inference(create_sae(config.sae, seeded_generator(0)), Unscaled())
    made.W_enc.data.mul_(1 if is_real else 100)
    made.b_enc.data -= 0.05 * torch.arange(LATENTS) / LATENTS  # some are rarer than others
    made.b_enc.data[7] = -1e6  # and one is dead
    return made.eval()


def activations(lm):
    return lm.activations


@pytest.fixture(scope="module")
def dense(lm, sae):
    """latents_ECF of everything, tokens that are left out set to zero; and which tokens count."""
    latents = sae.encode(activations(lm)(TOKENS).flatten(0, 1)).view(SEQUENCES, CONTEXT, LATENTS)
    counted = ~torch.isin(TOKENS, torch.tensor(SPECIAL))
    return latents * counted[..., None], counted


def collected(lm, sae, wanted=None, batch=7):
    wanted_F = torch.arange(LATENTS) if wanted is None else torch.tensor(wanted)
    return collect(sae, activations(lm), TOKENS.split(batch), SPECIAL, wanted_F, EXAMPLES, SEED)


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


def test_density_moments_and_histogram_are_those_of_the_dense_matrix(lm, sae, dense):
    found, (latents, counted) = collected(lm, sae), dense
    assert found.n_tokens == counted.sum() and found.n_excluded == (~counted).sum() > 0
    rows_TF = latents.flatten(0, 1)
    assert torch.equal(found.n_active_F, (rows_TF > 0).sum(0))
    assert found.n_active_F[7] == 0 and (found.n_active_F > 0).sum() > LATENTS // 2
    assert torch.equal(found.n_sequences_F, (latents > 0).any(1).sum(0))
    torch.testing.assert_close(found.max_F, rows_TF.amax(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.sum_F, rows_TF.double().sum(0), rtol=1e-5, atol=0)
    edges = np.append(activation_edges().numpy(), np.inf)
    for latent in range(LATENTS):
        values = rows_TF[:, latent][rows_TF[:, latent] > 0].numpy()
        assert np.abs(found.bins_FH[latent].numpy() - np.histogram(values, edges)[0]).sum() <= 2  # at an edge
    assert torch.equal(found.bins_FH.sum(1), found.n_active_F)


@pytest.mark.parametrize("batch", [7, SEQUENCES])
def test_top_examples_are_the_sequences_with_the_largest_peaks(lm, sae, dense, batch):
    found, (latents, _) = collected(lm, sae, batch=batch), dense
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
def test_examples_of_a_range_are_those_of_its_tokens_that_come_first_in_a_random_order(lm, sae, dense, batch):
    found, (latents, _) = collected(lm, sae, batch=batch), dense
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


def test_some_latents_alone_are_found_as_they_are_among_all(lm, sae):
    wanted = [3, 7, 40, 95]
    some, every = collected(lm, sae, wanted), collected(lm, sae)
    for name in ("n_active_F", "max_F", "bins_FH"):
        assert torch.equal(getattr(some, name), getattr(every, name)[wanted])
    for name in ("sequence_FS", "position_FS", "value_FS", "window_FSW"):
        assert torch.equal(getattr(some.top, name), getattr(every.top, name)[wanted])
        assert torch.equal(getattr(some.sampled, name), getattr(every.sampled, name)[wanted])
    together = list(every.co_activation.strongest(torch.arange(LATENTS), 5))
    assert list(some.co_activation.strongest(torch.tensor(wanted), 5)) == [together[n] for n in wanted]


@pytest.mark.parametrize(("most_entries", "stride"), [(2**22, 1), (4000, None)])
def test_co_activation_is_the_correlation_of_being_active_on_evenly_spread_tokens(
    lm, sae, dense, monkeypatch, most_entries, stride
):
    monkeypatch.setattr(co_activation, "MOST_ENTRIES", most_entries)
    monkeypatch.setattr(co_activation, "PAIRS_AT_ONCE", 20_000)
    monkeypatch.setattr(co_activation, "COUNTS_AT_ONCE", 4_000)
    (latents, counted), found = dense, collected(lm, sae).co_activation
    every = (latents[counted] > 0).double()
    stride = stride or next(n for n in (2**i for i in range(20)) if every[::n].sum() <= most_entries)
    assert (stride > 1) == (most_entries == 4000)
    active = every[::stride]
    assert found.n_tokens == len(active)
    phi_FF = torch.corrcoef(active.T).nan_to_num(-1.0).fill_diagonal_(-1.0)
    phi_FF[active.T @ active < co_activation.LEAST_TOGETHER] = -1.0
    for latent, pairs in enumerate(found.strongest(torch.arange(LATENTS), 5)):
        best = phi_FF[latent].topk(5).values
        assert [v for _, v in pairs] == pytest.approx(best[best > 0].tolist(), rel=1e-5)
        assert [float(phi_FF[latent, other]) for other, _ in pairs] == pytest.approx(
            [v for _, v in pairs], rel=1e-5
        )


def test_co_activation_of_a_text_that_begins_with_a_token_on_which_too_many_are_active_is_of_that_token_alone():
    n_latents = 2**14 + 1
    assert n_latents**2 > co_activation.MOST_PAIRS
    found = co_activation.CoActivation(n_latents)
    latent_N = torch.arange(n_latents).repeat_interleave(2)
    entries = Entries(latent_N, torch.arange(2).repeat(n_latents), torch.ones(len(latent_N)), 2, 2)
    for _ in range(2):
        found.add(entries, torch.ones(2, dtype=torch.bool))
    assert found.n_tokens == 1
    assert list(found.strongest(torch.tensor([0, 5]), 3)) == [[], []]


def test_most_similar_latents_have_the_largest_cosine_of_their_decoder_rows(sae):
    cosine_FF = torch.nn.functional.cosine_similarity(sae.W_dec[:, None], sae.W_dec[None], dim=-1)
    cosine_FF.fill_diagonal_(-2)
    for latent, pairs in enumerate(most_similar(sae.W_dec, torch.arange(LATENTS), 4)):
        assert [other for other, _ in pairs] == cosine_FF[latent].topk(4).indices.tolist()
        assert [v for _, v in pairs] == pytest.approx(cosine_FF[latent].topk(4).values.tolist(), rel=1e-5)
