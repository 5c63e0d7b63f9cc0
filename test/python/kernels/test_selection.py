"""The largest of each row are found whatever the rows and weights are like, and in two stages the same ones."""

import pytest
import torch

from pyworker.kernels import selection
from pyworker.kernels.selection import largest, largest_in_two_stages
from pyworker.saes import StepInput, create_sae, seeded_generator

D, F, K = 48, 1536, 20


def world(kind, seed=0):
    """Rows ``[B, D]``, weights ``[D, F]`` stored by latent, a bias and a scale ``[F]``."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    x_BD, W_FD, b_F, scale_F = randn(300, D), randn(F, D), 0.1 * randn(F), None
    if kind == "norms of all sizes":
        W_FD = W_FD * torch.exp(2 * randn(F, 1))
        x_BD = x_BD * torch.exp(3 * randn(300, 1))
    elif kind == "one long latent":
        W_FD[7] *= 1000
    elif kind == "compared by scale":
        scale_F = torch.exp(randn(F))
    elif kind == "nearly parallel latents":
        W_FD, b_F = randn(1, D) + 1e-3 * W_FD, 1e-3 * b_F
    elif kind == "a large bias":
        b_F = 1000 * randn(F)
    elif kind == "all negative":
        b_F = torch.full((F,), -1000.0)
    elif kind == "rows of nothing":
        x_BD[::2] = 0
    return x_BD, W_FD.t(), b_F, scale_F


KINDS = [
    "plain",
    "norms of all sizes",
    "one long latent",
    "compared by scale",
    "nearly parallel latents",
    "a large bias",
    "all negative",
    "rows of nothing",
]


@pytest.mark.parametrize("select", [largest, largest_in_two_stages])
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_are_found(kind, select):
    x_BD, W_DF, b_F, scale_F = world(kind)
    exact_BF = x_BD.double() @ W_DF.double() + b_F.double()
    compared_BF = exact_BF if scale_F is None else exact_BF * scale_F
    z_BK, indices_BK = select(x_BD, W_DF, b_F, scale_F, K)
    found_BK = compared_BF.gather(-1, indices_BK).sort(dim=-1).values
    wanted_BK = torch.topk(compared_BF, K, dim=-1).values.sort(dim=-1).values
    # Two latents that are equal to within the rounding of float32 may stand for each other.
    rounding_B1 = 1e-6 * compared_BF.abs().amax(dim=-1, keepdim=True) + 1e-12
    assert bool(((found_BK - wanted_BK).abs() <= rounding_B1).all())
    assert all(len(set(row)) == K for row in indices_BK.tolist())
    assert torch.allclose(
        z_BK.double(), exact_BF.gather(-1, indices_BK), rtol=1e-5, atol=1e-5 * exact_BF.abs().max()
    )


def test_the_first_stage_leaves_few_for_the_second(monkeypatch):
    seen = []
    candidates = selection._candidates
    monkeypatch.setattr(selection, "_candidates", lambda *a: seen.append(candidates(*a)) or seen[-1])
    largest_in_two_stages(*world("plain"), K)
    assert K * 300 <= sum(pairs.shape[1] for pairs in seen) < 2 * K * 300


def test_where_rounding_hides_everything_all_is_computed_exactly(monkeypatch):
    calls = []
    monkeypatch.setattr(selection, "largest", lambda *a: calls.append(a) or largest(*a))
    largest_in_two_stages(*world("nearly parallel latents"), K)
    assert len(calls) == 1


@pytest.mark.parametrize(("autocast", "bound"), [(False, 1e-6), (True, 1e-2)])
def test_a_step_in_two_stages_is_the_step_in_one_and_so_is_one_with_autocast(make_config, autocast, bound):
    def step(autocast, two_stages):
        config = make_config("topk", kernels="sparse", two_stage_selection=two_stages)
        sae = create_sae(config.sae, seeded_generator(2))
        x_BD = torch.randn(64, 8, generator=seeded_generator(1))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            output = sae.training_forward(StepInput(x_BD, torch.arange(32) % 5 == 0, {}))
        output.loss.backward()
        return output.loss.item(), [p.grad for p in sae.parameters()]

    (loss, grads), (other_loss, others) = step(False, False), step(autocast, not autocast)
    assert other_loss == pytest.approx(loss, rel=bound)
    for ours, theirs in zip(others, grads, strict=True):
        assert ((ours - theirs).norm() / theirs.norm()).item() < bound


@pytest.mark.parametrize(
    ("n_columns", "k"), [(1024, 16), (4096, 3), (1000, 1), (1001, 5), (64, 8), (128, 8), (24, 24)]
)
@pytest.mark.parametrize("kind", ["normal", "ties", "nothing", "beyond all bounds"])
def test_the_largest_of_groups_are_those_of_the_row(n_columns, k, kind):
    z_PF = torch.randn(50, n_columns, generator=torch.Generator().manual_seed(k))
    if kind == "ties":
        z_PF = (2 * z_PF).round()
    elif kind == "nothing":
        z_PF.zero_()
    elif kind == "beyond all bounds":
        z_PF[::2, ::3], z_PF[1::2] = torch.inf, -torch.inf
    kept_PK, column_PK = selection.row_top_k(z_PF, k)
    assert torch.equal(z_PF.gather(1, column_PK), kept_PK)
    assert torch.equal(kept_PK.sort().values, torch.topk(z_PF, k).values.sort().values)
    assert all(len(set(columns)) == k for columns in column_PK.tolist())


def test_a_row_that_is_no_number_still_gives_columns_that_are_there():
    z_PF = torch.randn(4, 512)
    z_PF[1] = torch.nan
    z_PF[2, 5] = torch.nan
    kept_PK, column_PK = selection.row_top_k(z_PF, 6)
    assert torch.equal(z_PF.gather(1, column_PK).isnan(), kept_PK.isnan())
    assert kept_PK.isnan().sum(dim=-1).tolist() == [0, 6, 1, 0]
    assert all(len(set(columns)) == 6 for columns in column_PK.tolist())
