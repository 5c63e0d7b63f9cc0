"""The kernels for GPUs give what the dense products give. Without a GPU Triton's interpreter runs them (``conftest.py``
asks for it), and its compiler shows that a GPU could."""

import os
import subprocess
import sys

import pytest
import torch

from pyworker.kernels import decode, encode_top_k
from pyworker.kernels.support import Support, gpu_kernels
from pyworker.saes import StepInput, create_sae, seeded_generator
from pyworker.saes.topk import pays_by_index
from pyworker.train import SAETrainer

pytest.importorskip("triton", reason="triton is not installed: it is built for Linux alone")
from pyworker.kernels import triton_kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPSILON = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 1e-2}


@pytest.fixture
def on_gpu(monkeypatch):
    """Work as on a GPU, wherever tensors are."""
    monkeypatch.setattr("pyworker.kernels.support.gpu_kernels", lambda tensor: triton_kernels)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64).to(DEVICE, dtype)


def case(name):
    """Which latents are active in which rows: bool ``[B, F]``."""
    z_BF = draw(13, 19)
    active_BF = z_BF > 0.8  # of some rows and latents nothing, of none the same number
    active_BF[4] = active_BF[:, 7] = False
    if name == "one latent in every row":
        active_BF[:, 3] = True
    if name == "one entry a row":
        active_BF = torch.zeros_like(active_BF).scatter(1, z_BF.argmax(dim=1, keepdim=True), True)
    if name == "one latent in all rows, and no other":
        active_BF = torch.arange(19, device=DEVICE).expand(13, 19) == 18
    if name == "nothing":
        active_BF = torch.zeros_like(active_BF)
    return active_BF


CASES = [
    "some",
    "one latent in every row",
    "one entry a row",
    "one latent in all rows, and no other",
    "nothing",
]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("d", [37, 1])
@pytest.mark.parametrize("dtype", EPSILON)
def test_products_and_sums_by_index_are_those_of_dense_matrices(on_gpu, name, d, dtype):
    active_BF = case(name)
    row_N, latent_N = active_BF.nonzero().contiguous().unbind(1)  # nothing lies as the kernels read it
    support = Support(row_N, latent_N, *active_BF.shape)
    values_N = draw(len(row_N), 2, seed=1, dtype=dtype)[:, 0]
    W_FD, rows_BD = draw(d, 19, seed=2, dtype=dtype).t(), draw(d, 13, seed=3, dtype=dtype).t()
    code_BF = torch.zeros_like(active_BF, dtype=torch.float64)
    code_BF[row_N, latent_N] = values_N.double()

    def check(ours, dense):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), dense, rtol=EPSILON[dtype], atol=8 * EPSILON[dtype])

    check(support.weighted_rows(values_N, W_FD), code_BF @ W_FD.double())
    check(support.totals(values_N), code_BF.sum(dim=0))
    products_N, sums_FD = support.products_and_sums(values_N, rows_BD, W_FD)
    check(products_N, (rows_BD.double() @ W_FD.double().t())[row_N, latent_N])
    check(sums_FD, code_BF.t() @ rows_BD.double())
    assert torch.equal(support.products(rows_BD, W_FD), products_N)
    assert torch.equal(support.sums(values_N, rows_BD), sums_FD)


def test_rows_longer_than_a_program_and_segments_longer_than_a_tile_are_summed_whole(on_gpu, monkeypatch):
    monkeypatch.setattr(triton_kernels, "BLOCK_D", 16)
    n_rows, d = 300, 37  # more rows than a block of totals, more columns than two programs have
    support = Support.of_rows(torch.zeros(n_rows, 1, dtype=torch.int64, device=DEVICE), 2)
    values_N, rows_BD, W_FD = draw(n_rows), draw(n_rows, d), draw(2, d)
    torch.testing.assert_close(support.weighted_rows(values_N, W_FD), values_N[:, None] * W_FD[0])
    torch.testing.assert_close(support.sums(values_N, rows_BD)[0], values_N @ rows_BD)
    torch.testing.assert_close(support.totals(values_N)[0], values_N.sum())


def step(make_config, dtype="float32", k=3):
    """Loss and gradients of a training step by index."""
    config = make_config("topk", kernels="sparse", dtype=dtype, k=k, device=DEVICE)
    sae = create_sae(config.sae, seeded_generator(2))
    with torch.no_grad():
        for seed, parameter in enumerate(sae.parameters()):
            parameter.add_(0.1 * draw(*parameter.shape, seed=seed).to(parameter))
    dead_F = torch.arange(32, device=DEVICE) % 5 == 0
    output = sae.training_forward(StepInput(draw(24, 8).to(sae.W_dec.dtype), dead_F, {}))
    output.loss.backward()
    return output.loss.detach(), [p.grad for p in sae.parameters()]


@pytest.mark.parametrize("k", [1, 3])
def test_a_training_step_has_the_loss_and_gradients_of_the_kernels_for_cpus(make_config, request, k):
    loss, grads = step(make_config, "float64", k)
    request.getfixturevalue("on_gpu")
    gpu_loss, gpu_grads = step(make_config, "float64", k)
    torch.testing.assert_close(gpu_loss, loss, rtol=1e-14, atol=0)
    for ours, theirs in zip(gpu_grads, grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_a_training_step_repeats_bit_for_bit(make_config, on_gpu):
    loss, grads = step(make_config)
    again, grads_again = step(make_config)
    assert torch.equal(loss, again) and all(map(torch.equal, grads, grads_again))


def test_gradients_are_those_of_finite_differences(on_gpu):
    rows = draw(5, 3)
    parameters = [draw(*shape, seed=4).requires_grad_() for shape in ((3,), (3, 6), (6,), (6, 3))]

    def reconstruct(b_dec, W_enc, b_enc, W_dec):
        code = encode_top_k(rows, b_dec, W_enc, b_enc, None, 2, False)
        return decode(code.with_values(torch.tanh(code.values)), W_dec)

    assert torch.autograd.gradcheck(reconstruct, parameters)


def test_auto_works_by_index_on_a_gpu_where_arithmetic_says_that_it_pays(make_config, monkeypatch):
    assert pays_by_index("cuda", "float32", False, 40) and not pays_by_index("cuda", "float32", False, 39)
    assert pays_by_index("cuda", "float32", True, 300) and not pays_by_index("cuda", "float32", True, 299)
    assert not any(pays_by_index("cuda", dtype, False, 1000) for dtype in ("float64", "bfloat16"))
    assert not pays_by_index("mps", "float32", False, 1000)

    def kernels_of_a_run(**run):
        config = make_config("topk", run)
        sae = create_sae(config.sae, seeded_generator(0))
        return SAETrainer(sae, config, batches=None, callbacks=None).sae.kernels()

    monkeypatch.setattr("pyworker.saes.topk.pays_by_index", lambda *asked: not asked[2])
    assert kernels_of_a_run() == "sparse" and kernels_of_a_run(autocast=True) == "dense"


def test_a_worker_on_a_cpu_does_without_triton():
    assert gpu_kernels(torch.zeros(1)) is None


COMPILE = """
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from pyworker.kernels.triton_kernels import _gather, _owner, _totals

tables = ("starts", "latents", "row_of", "order")
for kernel, constants in [
    (_gather, {"BLOCK": 1024}),
    (_totals, {"BLOCK": 256}),
    (_owner, {"BLOCK": 1024, "TILE_ENTRIES": 4}),
    (_owner, {"BLOCK": 64, "TILE_ENTRIES": 8, "values": None, "sums": None}),
    (_owner, {"BLOCK": 64, "TILE_ENTRIES": 8, "W": None, "products": None}),
]:
    for number, wide in [("fp32", tl.float32), ("bf16", tl.float32)]:
        constants["WIDE"] = wide
        types = dict.fromkeys(kernel.arg_names, f"*{number}") | dict.fromkeys(tables, "*i64") | {"d": "i32"}
        types = {name: types[name] for name in kernel.arg_names} | dict.fromkeys(constants, "constexpr")
        source = triton.compiler.ASTSource(kernel, types, constants)
        for capability in (80, 90):
            compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
            print(kernel.__name__, number, capability, len(compiled.asm["cubin"]) > 0)
"""


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        check=False,
        env={**env, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") == 5 * 2 * 2
