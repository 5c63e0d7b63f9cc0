"""Work by index where each row has as many latents as it has: the dense step in another order, exact and repeatable."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyworker.kernels import SparseCode, batch_top_k, decode, encode, encode_above, encode_batch_top_k
from pyworker.kernels.ragged import RaggedCode
from pyworker.kernels.support import Support
from pyworker.saes import StepInput, create_sae, seeded_generator
from pyworker.saes.adaptive import AGREEING_STEPS


def relative(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def draw(*shape, seed=5):
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64)


def pair(d_sae=24, n_rows=40):
    """A code by index and the dense one; some rows and some latents have none."""
    dense = torch.relu(draw(n_rows, d_sae, seed=3) - 1.5)
    dense[7], dense[:, 5] = 0, 0
    row, latent = dense.nonzero(as_tuple=True)
    return RaggedCode(Support(row, latent, n_rows, d_sae), dense[row, latent]), SparseCode(dense)


def test_every_question_to_a_code_has_the_same_answer_in_both_forms():
    code, same = pair()
    weights, W_dec = draw(24, seed=7).abs(), draw(24, 5, seed=8)
    torch.testing.assert_close(code.dense(), same.dense())
    assert torch.equal(code.l0(), same.l0()) and torch.equal(code.firing_counts(), same.firing_counts())
    assert torch.equal(code.smallest_positive(), same.smallest_positive())
    torch.testing.assert_close(code.row_sums(), same.row_sums())
    torch.testing.assert_close(code.weighted_sums(weights), same.weighted_sums(weights))
    torch.testing.assert_close(code.columns(4, 11).dense(), same.columns(4, 11).dense())
    for p in (0.7, 1, 2):
        torch.testing.assert_close(code.weighted(weights).row_norms(p), same.weighted(weights).row_norms(p))
    torch.testing.assert_close(decode(code, W_dec), decode(same, W_dec))


def test_a_batch_without_active_latents_decodes_to_zero_and_has_zero_gradients():
    rows, W_enc, W_dec = draw(6, 4), draw(4, 12).requires_grad_(), draw(12, 4).requires_grad_()
    code = encode_above(rows, None, W_enc, torch.full((12,), -1e3, dtype=torch.float64))
    out = decode(code, W_dec)
    (out.sum() + code.row_sums().sum()).backward()
    assert out.abs().max() == code.l0().sum() == 0 and code.smallest_positive() == torch.inf
    assert W_enc.grad.abs().max() == W_dec.grad.abs().max() == 0


@pytest.mark.parametrize("bounded", [True, False])
def test_gradients_are_those_of_finite_differences(bounded):
    rows, bound = draw(7, 4), (0.3 * draw(12) if bounded else None)
    parameters = [t.requires_grad_() for t in (draw(4), draw(4, 12), draw(12), draw(12, 4), draw(12))]

    def losses(b_dec, W_enc, b, W_dec, weights):
        pre = encode_above(rows, b_dec, W_enc, b, bound)
        code = pre.with_values(torch.tanh(pre.values) * pre.beside(weights))
        return decode(code, W_dec), code.row_norms(2), code.columns(3, 9).weighted_sums(weights[3:9])

    assert torch.autograd.gradcheck(losses, parameters)


def test_gradients_of_all_pre_activations_are_those_of_finite_differences():
    inputs = [t.requires_grad_() for t in (draw(3, 2, 4), draw(4), draw(4, 6), draw(6))]
    assert torch.autograd.gradcheck(encode, inputs)
    assert torch.autograd.gradcheck(lambda rows, W, b: encode(rows, None, W, b), [inputs[0], *inputs[2:]])


def test_blocks_of_rows_are_the_rows_of_one_block(monkeypatch):
    rows, W, b = draw(50, 8), draw(8, 24), draw(24)
    whole = encode_above(rows, None, W, b)
    monkeypatch.setattr("pyworker.kernels.row_blocks.BLOCK_BYTES", 7 * 24 * 8)
    parts = encode_above(rows, None, W, b)
    torch.testing.assert_close(parts.dense(), whole.dense())
    assert torch.equal(parts.l0(), whole.l0())


VARIANTS = {
    "l1": ("standard", {}),
    "l1 of latents as they are": ("standard", {"scale_sparsity_penalty_by_decoder_norm": False}),
    "l0.7": ("standard", {"lp_norm": 0.7}),
    "tanh-relu": ("standard", {"activation_fn": "tanh-relu"}),
    "ghosts": ("standard", {"use_ghost_grads": True}),
    "layer_norm": ("standard", {"normalize_activations": "layer_norm", "apply_b_dec_to_input": False}),
    "gated": ("gated", {}),
    "gated, raw rows beside normalised ones": ("gated", {"normalize_activations": "layer_norm"}),
    "step": ("jumprelu", {"jumprelu_bandwidth": 0.5}),
    "step, to the input too": ("jumprelu", {"jumprelu_bandwidth": 0.5, "jumprelu_ste_to_input": True}),
    "quadratic": (
        "jumprelu",
        {"jumprelu_bandwidth": 0.5, "jumprelu_sparsity_loss_mode": "quadratic", "target_l0": 3.0},
    ),
    "tanh": ("jumprelu", {"jumprelu_sparsity_loss_mode": "tanh"}),
    "dead latents": ("jumprelu", {"pre_act_loss_coefficient": 0.3, "vocabulary": "v6"}),
    "logarithm of the threshold": ("jumprelu", {"vocabulary": "v5", "jumprelu_bandwidth": 0.5}),
    "batch": ("batchtopk", {}),
    "batch, latents as they are": ("batchtopk", {"rescale_acts_by_decoder_norm": False}),
    "matryoshka": ("matryoshka_batchtopk", {}),
    "matryoshka, dead latents by level": ("matryoshka_batchtopk", {"use_matryoshka_aux_loss": True}),
}


def step(make_config, variant, kernels, dtype="float64"):
    """Output and gradients of one step on fixed rows and weights that are not as drawn."""
    architecture, options = VARIANTS[variant]
    sae = create_sae(
        make_config(architecture, kernels=kernels, dtype=dtype, **options).sae, seeded_generator(2)
    )
    with torch.no_grad():
        for seed, parameter in enumerate(sae.parameters()):
            noise = torch.randn(parameter.shape, generator=seeded_generator(seed))
            parameter.add_(0.2 * (noise if "threshold" not in variant else noise.abs()).to(parameter))
    x = torch.randn(64, 8, generator=seeded_generator(1)).to(getattr(torch, dtype))
    output = sae.training_forward(StepInput(x, torch.arange(32) % 5 == 0, {"l1": 0.3, "l0": 0.2}))
    output.loss.backward()
    return output, {name: p.grad for name, p in sae.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-6), ("float64", 1e-14)])
def test_a_step_by_index_has_the_losses_and_gradients_of_the_dense_one(make_config, variant, dtype, bound):
    dense, dense_grads = step(make_config, variant, "dense", dtype)
    sparse, sparse_grads = step(make_config, variant, "sparse", dtype)
    assert isinstance(sparse.code, RaggedCode) and (sparse.pre is None or sparse.pre.matrix() is None)
    assert 0 < sparse.code.l0().sum() < 0.9 * 64 * 32
    for name, loss in dense.losses.items():
        assert sparse.losses[name].item() == pytest.approx(loss.item(), rel=bound), name
    assert relative(sparse.code.dense(), dense.code.dense()) <= bound
    for name, theirs in dense_grads.items():
        # The threshold and its logarithm are float32, whatever the SAE is.
        assert relative(sparse_grads[name], theirs) <= 4 * max(bound, 1e-6 if "threshold" in name else 0), (
            name
        )


@pytest.mark.parametrize("variant", ["l1", "gated", "step", "dead latents", "matryoshka"])
def test_a_step_by_index_repeats_bit_for_bit(make_config, variant):
    first, first_grads = step(make_config, variant, "sparse", "float32")
    again, again_grads = step(make_config, variant, "sparse", "float32")
    assert torch.equal(first.loss, again.loss)
    assert all(torch.equal(first_grads[name], again_grads[name]) for name in first_grads)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes, backward too."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [t for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, torch.Tensor)]
        self.numel = max([self.numel, *(t.numel() for t in made if t.layout == torch.strided)])
        return out


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "matryoshka_batchtopk"])
def test_by_index_no_matrix_of_all_latents_is_ever_there(monkeypatch, make_config, architecture):
    monkeypatch.setattr("pyworker.kernels.row_blocks.BLOCK_BYTES", 16 * 32 * 4)
    largest = {}
    for kernels in ("dense", "sparse"):
        sae = create_sae(make_config(architecture, kernels=kernels).sae, seeded_generator(2))
        with torch.no_grad():
            for name in ("b_enc", "b_gate", "b_mag"):
                if hasattr(sae, name):
                    getattr(sae, name).fill_(-0.2)
        x = torch.randn(256, 8, generator=seeded_generator(1))
        with Largest() as mode:
            step = StepInput(x, torch.zeros(32, dtype=torch.bool), {"l1": 0.3, "l0": 0.2})
            output = sae.training_forward(step)
            output.loss.backward()
        assert output.code.l0().sum() > 0
        largest[kernels] = mode.numel
    assert largest["dense"] >= 256 * 32 and largest["sparse"] <= 256 * 32 / 3


def test_auto_goes_by_index_when_few_latents_are_active_and_back_when_many_are(make_config):
    sae = create_sae(make_config("standard").sae, seeded_generator(0))
    x = torch.randn(256, 8, generator=seeded_generator(1))

    def kernels_after_each(n_steps):
        step = StepInput(x, torch.zeros(32, dtype=torch.bool), {"l1": 1.0})
        return [(sae.training_forward(step), sae.kernels())[1] for _ in range(n_steps)]

    assert set(kernels_after_each(2 * AGREEING_STEPS)) == {"dense"}
    with torch.no_grad():
        sae.b_enc.fill_(-0.25)
    assert kernels_after_each(AGREEING_STEPS) == ["dense"] * (AGREEING_STEPS - 1) + ["sparse"]
    with torch.no_grad():
        sae.b_enc.fill_(0.1)
    assert kernels_after_each(AGREEING_STEPS) == ["sparse"] * (AGREEING_STEPS - 1) + ["dense"]


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu"])
def test_kernels_are_what_was_asked_for_and_auto_adapts_only_where_it_can(make_config, architecture):
    def sae(**options):
        return create_sae(make_config(architecture, **options).sae, seeded_generator(0))

    assert sae(kernels="sparse").kernels() == "sparse" and not sae(kernels="sparse").adapts
    assert sae().kernels() == sae(kernels="dense").kernels() == "dense"
    assert sae().adapts and not sae(kernels="dense").adapts and not sae(dtype="bfloat16").adapts
    assert not sae(noise_scale=0.1).adapts
    compiled = sae(kernels="sparse")
    compiled.prepare_to_compile()
    assert compiled.kernels() == "dense"


@pytest.mark.parametrize("activation_fn", ["gelu", "topk"])
def test_latents_below_zero_are_no_work_by_index(make_config, activation_fn):
    kwargs = {
        "activation_fn": activation_fn,
        "activation_fn_kwargs": {"k": 4} if activation_fn == "topk" else {},
    }
    assert not create_sae(make_config("standard", **kwargs).sae, seeded_generator(0)).adapts


@pytest.mark.parametrize("k", [0.01, 1.0, 2.5, 7.0, 20.0])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_largest_of_a_batch_are_the_same_however_it_is_cut_into_blocks(monkeypatch, k, scaled):
    rows, W, b = draw(50, 8), draw(8, 24), draw(24)
    scale = draw(24, seed=9).abs() if scaled else None
    monkeypatch.setattr("pyworker.kernels.row_blocks.BLOCK_BYTES", 7 * 24 * 8)
    code = encode_batch_top_k(rows, None, W, b, scale, k)
    z = rows @ W + b
    same = batch_top_k(z * scale if scaled else z, k)
    torch.testing.assert_close(code.dense(), torch.where(same > 0, z, 0))
    assert (code.support.row_N.diff() >= 0).all()
