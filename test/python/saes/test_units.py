"""Single functions and their gradients against those recorded from SAELens 5.10.7."""

import pytest
import torch
from safetensors.torch import load_file

from pyworker.kernels import SparseCode, top_k
from pyworker.saes import StepInput, create_sae, seeded_generator
from pyworker.saes.activations import tanh_relu
from pyworker.saes.init import unit_rows
from pyworker.saes.jumprelu import JumpReLU, Step
from pyworker.saes.mse import squared_error
from pyworker.saes.training import Forward


@pytest.fixture
def units(golden):
    return load_file(golden / "v5" / "units_v5.safetensors")


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [JumpReLU, Step])
def test_threshold_functions_and_their_estimated_gradients(units, function):
    name = function.__name__
    x = units[f"{name}/x"].clone().requires_grad_()
    threshold = units[f"{name}/threshold"].clone().requires_grad_()
    y = function.apply(x, threshold, 0.5, False)
    close(y, units[f"{name}/y"])
    y.backward(units[f"{name}/grad_out"])
    close(threshold.grad, units[f"{name}/grad_threshold"])
    if name == "JumpReLU":
        close(x.grad, units["JumpReLU/grad_x"])
    else:
        assert x.grad is None


def test_ste_to_input_adds_the_window_to_the_gradient_of_the_input():
    x = torch.tensor([[0.4, 0.6, 3.0]], requires_grad=True)
    threshold = torch.full((3,), 0.5)
    JumpReLU.apply(x, threshold, 0.5, True).sum().backward()
    close(x.grad, torch.tensor([[1.0, 2.0, 1.0]]))
    x.grad = None
    Step.apply(x, threshold, 0.5, True).sum().backward()
    close(x.grad, torch.tensor([[2.0, 2.0, 0.0]]))


def test_away_from_the_window_the_custom_gradients_are_those_of_autograd():
    generator = seeded_generator(3)
    z = torch.randn(64, 8, generator=generator, dtype=torch.float64)
    threshold = torch.full((8,), 0.7, dtype=torch.float64)
    z = z[((z - threshold).abs() > 0.2).all(dim=1)].requires_grad_()
    weights = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    (JumpReLU.apply(z, threshold, 0.1, False) * weights).sum().backward()
    ours, z.grad = z.grad, None
    (z * (z > threshold) * weights).sum().backward()
    assert torch.equal(ours, z.grad)


def test_topk_keeps_k_and_rectifies_them(units):
    z = units["TopK4/z"].clone().requires_grad_()
    y = top_k(z, 4)
    torch.testing.assert_close(y.sort(dim=-1).values, units["TopK4/y"].sort(dim=-1).values)
    y.sum().backward()
    assert torch.equal(z.grad.sum(dim=-1), units["TopK4/grad_of_sum"].sum(dim=-1))


def test_tanh_relu(units):
    z = units["tanh_relu/z"].clone().requires_grad_()
    y = tanh_relu(z)
    close(y, units["tanh_relu/y"])
    y.sum().backward()
    close(z.grad, units["tanh_relu/grad_of_sum"])


@pytest.mark.parametrize("kind", [None, "dense_batch"])
def test_both_reconstruction_errors_also_for_one_row(units, kind):
    for row in ("", "single_row_"):
        error = squared_error(units[f"mse_{kind}/{row}preds"], units[f"mse_{kind}/{row}target"], kind)
        close(error, units[f"mse_{kind}/{row}per_item"])


@pytest.mark.parametrize("p", ["0.5", "0.7", "1.0", "2.0"])
def test_lp_norm_has_a_finite_gradient_at_zero(units, make_config, p):
    sae = create_sae(
        make_config(d_sae=10, lp_norm=float(p), scale_sparsity_penalty_by_decoder_norm=False).sae,
        seeded_generator(0),
    )
    z = units[f"lp_norm_{p}/a"].clone().requires_grad_()
    a = torch.relu(z)
    x = torch.zeros(a.shape[0], 8)
    forward = Forward(x, x, x, SparseCode(a), SparseCode(a), x, None)
    step = StepInput(x, torch.zeros(10, dtype=torch.bool), {"l1": 1.0})
    loss = sae.sparsity_losses(step, forward)["l1_loss"]
    close(loss, units[f"lp_norm_{p}/norm"].mean())
    loss.backward()
    torch.testing.assert_close(z.grad * a.shape[0], units[f"lp_norm_{p}/grad"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", [None, "dense_batch"])
@pytest.mark.parametrize("dead", ["none", "some", "all"])
def test_ghost_gradients(units, make_config, mode, dead):
    name = f"ghost_{mode}_{dead}"
    cfg = make_config(use_ghost_grads=True, mse_loss_normalization=mode).sae
    sae = create_sae(cfg, seeded_generator(0))
    sae.load_state_dict({"W_dec": units[f"{name}/W_dec"]}, strict=False)
    x, out = units[f"{name}/x"], units[f"{name}/sae_out"]
    z = units[f"{name}/hidden_pre"].clone().requires_grad_()
    forward = Forward(x, out, squared_error(out, x, mode), SparseCode(torch.relu(z)), SparseCode(z), x, None)
    step = StepInput(x, units[f"{name}/dead_mask"].bool(), {"l1": 0.0})
    loss = sae._ghost_grad_loss(step, forward)
    close(loss, units[f"{name}/loss"][0])
    loss.backward()
    scale = units[f"{name}/grad_hidden_pre"].abs().max().item()
    torch.testing.assert_close(z.grad, units[f"{name}/grad_hidden_pre"], rtol=0, atol=2e-4 * scale + 1e-9)


def test_unit_rows(units):
    close(unit_rows(units["unit_norm/W_before"]), units["unit_norm/W_after"])
