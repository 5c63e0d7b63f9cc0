"""The two forms of a code are the same numbers, and a training step by index is the dense one in another order."""

import pytest
import torch

from pyworker.kernels import IndexedCode, SparseCode, decode, encode_top_k, top_k
from pyworker.kernels.support import Support
from pyworker.saes import StepInput, create_sae, seeded_generator


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def step(make_config, kernels, dtype, **options):
    """Output and gradients of one step on fixed rows and weights that are not as drawn."""
    sae = create_sae(make_config("topk", kernels=kernels, dtype=dtype, **options).sae, seeded_generator(2))
    generator = seeded_generator(3)
    with torch.no_grad():
        for parameter in sae.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.1 * noise.to(parameter))
    x = torch.randn(64, 8, generator=seeded_generator(1)).to(getattr(torch, dtype))
    output = sae.training_forward(StepInput(x, torch.arange(32) % 5 == 0, {}))
    output.loss.backward()
    return output, {name: p.grad for name, p in sae.named_parameters()}


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("rescales", [True, False])
@pytest.mark.parametrize("b_dec_in", [True, False])
@pytest.mark.parametrize("kind", ["none", "layer_norm"])
def test_a_training_step_by_index_has_the_loss_and_gradients_of_the_dense_one(
    make_config, dtype, bound, rescales, b_dec_in, kind
):
    options = {
        "rescale_acts_by_decoder_norm": rescales,
        "apply_b_dec_to_input": b_dec_in,
        "normalize_activations": kind,
    }
    dense, dense_grads = step(make_config, "dense", dtype, **options)
    sparse, sparse_grads = step(make_config, "sparse", dtype, **options)
    assert dense.pre is not None and sparse.pre is None
    assert dense.losses["auxiliary_reconstruction_loss"] > 0
    assert sparse.loss.item() == pytest.approx(dense.loss.item(), rel=bound)
    assert relative(sparse.reconstruction_BD, dense.reconstruction_BD) <= bound
    assert torch.equal(sparse.code.dense() > 0, dense.code.dense() > 0)
    for name, theirs in dense_grads.items():
        assert relative(sparse_grads[name], theirs) <= 4 * bound, name


def test_auto_works_by_index_where_that_pays_and_says_so(make_config):
    def kernels(**options):
        return create_sae(make_config("topk", **options).sae, seeded_generator(0)).kernels()

    assert kernels(k=4) == "sparse"  # of 32
    assert kernels(k=5) == "dense"
    assert kernels(k=5, use_sparse_activations=True) == kernels(k=5, kernels="sparse") == "sparse"
    assert kernels(k=4, kernels="dense") == kernels(k=4, noise_scale=0.1) == "dense"
    assert kernels(k=4, dtype="bfloat16") == "dense"
    sae = create_sae(make_config("topk", k=4).sae, seeded_generator(0))
    sae.prepare_to_compile()
    assert sae.kernels() == "dense"


def test_gradients_are_those_of_finite_differences():
    generator = seeded_generator(5)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows, scale = draw(7, 4), draw(12).abs() + 0.5
    parameters = [t.requires_grad_() for t in (draw(4), draw(4, 12), draw(12), draw(12, 4))]

    def reconstruct(b_dec, W_enc, b_enc, W_dec):
        code = encode_top_k(rows, b_dec, W_enc, b_enc, scale, 3, False)
        return decode(code.with_values(torch.tanh(code.values)), W_dec)

    assert torch.autograd.gradcheck(reconstruct, parameters)


def test_a_step_by_index_repeats_bit_for_bit(make_config):
    first, first_grads = step(make_config, "sparse", "float32")
    again, again_grads = step(make_config, "sparse", "float32")
    assert torch.equal(first.loss, again.loss)
    assert all(torch.equal(first_grads[name], again_grads[name]) for name in first_grads)


def test_blocks_of_rows_are_the_rows_of_one_block(monkeypatch):
    generator = seeded_generator(6)
    rows, W, b = (torch.randn(*shape, generator=generator) for shape in ((50, 8), (8, 24), (24,)))
    whole = encode_top_k(rows, None, W, b, None, 4, False)
    monkeypatch.setattr("pyworker.kernels.row_blocks.BLOCK_BYTES", 7 * 24 * 4)
    parts = encode_top_k(rows, None, W, b, None, 4, False)
    torch.testing.assert_close(parts.dense(), whole.dense())
    assert torch.equal(parts.indices_BK.sort().values, whole.indices_BK.sort().values)


def test_counts_and_matrix_of_an_indexed_code_are_those_of_the_dense_one():
    z = torch.randn(48, 12, generator=seeded_generator(3)) - 1
    kept = torch.topk(z, 4)
    code, same = (
        IndexedCode(Support.of_rows(kept.indices, 12), torch.relu(kept.values)),
        SparseCode(top_k(z, 4)),
    )
    assert (code.l0() < 4).any(), "a rectified zero is not active"
    assert torch.equal(code.dense(), same.dense()) and torch.equal(code.l0(), same.l0())
    assert torch.equal(code.firing_counts(), same.firing_counts())
    weights, W_dec = torch.rand(12), torch.randn(12, 5)
    torch.testing.assert_close(decode(code.weighted(weights), W_dec), decode(same.weighted(weights), W_dec))
