"""The two forms of a code are the same numbers: values, gradients, counts, and a whole training step."""

import pytest
import torch

from pyworker.kernels import decode, top_k_indexed
from pyworker.kernels.sparse_code import SparseCode
from pyworker.saes import StepInput, create_sae, seeded_generator


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-14), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("rescales", [True, False])
def test_a_training_step_by_index_has_the_loss_and_gradients_of_the_dense_one(
    make_config, dtype, bound, rescales
):
    x = torch.randn(64, 8, generator=seeded_generator(1)).to(getattr(torch, dtype))
    dead = torch.arange(32) % 5 == 0
    results = []
    for sparse in (False, True):
        options = {"use_sparse_activations": sparse, "dtype": dtype, "rescale_acts_by_decoder_norm": rescales}
        sae = create_sae(make_config("topk", **options).sae, seeded_generator(2))
        output = sae.training_forward(StepInput(x, dead, {}))
        output.loss.backward()
        results.append((output, {name: p.grad for name, p in sae.named_parameters()}))
    (dense, dense_grads), (indexed, indexed_grads) = results
    assert type(dense.code) is SparseCode and type(indexed.code) is not SparseCode
    assert indexed.loss.item() == pytest.approx(dense.loss.item(), rel=bound)
    assert relative(indexed.reconstruction_BD, dense.reconstruction_BD) <= bound
    for name, theirs in dense_grads.items():
        assert relative(indexed_grads[name], theirs) <= 4 * bound, name


def test_counts_and_matrix_of_an_indexed_code_are_those_of_the_dense_one():
    z = torch.randn(3, 16, 12, generator=seeded_generator(3)) - 1
    code = top_k_indexed(z, 4)
    same = SparseCode(code.dense())
    assert (code.l0() < 4).any(), "a rectified zero is not active"
    assert torch.equal(code.l0(), same.l0())
    flat, flat_same = top_k_indexed(z.flatten(0, 1), 4), SparseCode(code.dense().flatten(0, 1))
    assert torch.equal(flat.firing_counts(), flat_same.firing_counts())
    weights, W_dec = torch.rand(12), torch.randn(12, 5)
    torch.testing.assert_close(
        decode(flat.weighted(weights), W_dec), decode(flat_same.weighted(weights), W_dec)
    )
