"""One training step, ours and SAELens 6.54.12's (or ``--peer``'s): same process, torch, threads and rows, in turn.

    PYTHON_WITH_SAELENS test/bench/step.py --architecture topk --d_in 1024 --d_sae 16384 --k 100 --batch 4096

What is timed is all that a step is: forward, statistics, backward, clipping, Adam, schedules; by the clock and by
seconds of CPU, which a busy machine disturbs less. ``peak`` is what a step holds beyond weights, gradients of the step
before and moments of Adam, measured in steps of its own. The JSON on stdout has every run, medians, ranges and
SAELens' median over ours; ``over_product``, how many times the CPU of the encoder's bare product in float32, by the
library that we take for it, our step needs.

``--density 0.01`` gives both the same weights, with the offset of each latent (``b_enc``; ``threshold`` of JumpReLU;
``b_gate`` and ``b_mag``) such that this share of the latents is active on the first batch, and a learning rate that
leaves it so.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "python")]
warnings.filterwarnings("ignore")

import psutil  # noqa: E402
import torch  # noqa: E402
from peers import PEERS  # noqa: E402
from torch import Tensor  # noqa: E402

from pyworker.kernels.product import affine  # noqa: E402

WARM_UP = 2
RESTING_LR = 1e-9
PROCESS = psutil.Process()


class Silent:
    """Callbacks of a trainer that nobody listens to."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def ours(asked: argparse.Namespace, options: dict[str, Any]) -> Any:
    """A step of ours, as the worker takes it."""
    from complete_config import config_for

    from pyworker.saes import create_sae, seeded_generator
    from pyworker.train import SAETrainer

    run = {"train_batch_size_tokens": asked.batch, "training_tokens": 10**9, "autocast": asked.autocast}
    config = config_for(asked.architecture, run, d_in=asked.d_in, d_sae=asked.d_sae, **options)
    config.feature_sampling_window = config.dead_feature_window = 10**6
    if asked.architecture == "topk":
        config.sae.two_stage_selection = asked.two_stages
    config.sae.kernels = asked.kernels
    config.lr = config.lr if asked.density is None else RESTING_LR
    trainer = SAETrainer(create_sae(config.sae, seeded_generator(0)), config, Silent(), Silent())

    def step(x_BD: Tensor) -> None:
        trainer.train_step(x_BD)
        trainer.n_training_steps += 1

    step.sae = trainer.sae  # type: ignore[attr-defined]
    return step


@torch.no_grad()
def set_density(sae: Any, x_BD: Tensor, density: float) -> None:
    """Move the offsets of the latents so that they are active as often as is wanted."""
    z_BF = (x_BD - sae.b_dec) @ sae.W_enc
    bounds_F = z_BF.kthvalue(max(1, round(len(x_BD) * (1 - density))), dim=0).values
    if hasattr(sae, "threshold"):
        sae.threshold.copy_(bounds_F)
        return
    for name in ("b_enc", "b_gate", "b_mag"):
        if hasattr(sae, name):
            getattr(sae, name).copy_(-bounds_F)


def seconds_of(work: Callable[[], object]) -> dict[str, float]:
    """By the clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def peak_of(work: Callable[[], object]) -> float:
    """The most bytes held beyond those held before, once the allocator has given back what it keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = peak = PROCESS.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, PROCESS.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak - before


def summary(values: list[float]) -> dict[str, Any]:
    """Median, range and every run."""
    rounded = [round(value, 2) for value in values]
    return {
        "median": round(statistics.median(values), 2),
        "range": [min(rounded), max(rounded)],
        "runs": rounded,
    }


def options_of(asked: argparse.Namespace) -> dict[str, Any]:
    """What both are told of the architecture; where density matters, it is set by the threshold."""
    if asked.architecture in ("topk", "batchtopk"):
        return {"k": asked.k}
    if asked.architecture == "matryoshka_batchtopk":
        return {"k": asked.k, "matryoshka_widths": [asked.d_sae // 8, asked.d_sae // 2]}
    return {"l0_coefficient": 1.0} if asked.architecture == "jumprelu" else {"l1_coefficient": 1.0}


class Rows:
    """Sparse sums of random directions, of the length that ``normalize_activations`` gives them."""

    def __init__(self, asked: argparse.Namespace, generator: torch.Generator):
        self.asked, self.generator = asked, generator
        self.basis = torch.randn(4 * asked.d_in, asked.d_in, generator=generator) / asked.d_in**0.5

    def draw(self) -> Tensor:
        """The next batch."""
        codes = torch.relu(torch.randn(self.asked.batch, 4 * self.asked.d_in, generator=self.generator) - 2)
        x_BD = codes @ self.basis
        return x_BD * (self.asked.d_in**0.5 / x_BD.norm(dim=-1).mean())


def start_at_density(asked: argparse.Namespace, steps: dict[str, Any], rows: Rows) -> float:
    """Both from the same weights at the wanted density, ours past its choice of kernels; what the density is."""
    from pyworker.saes.adaptive import AGREEING_STEPS

    x_BD = rows.draw()
    sae = steps["ours"].sae
    set_density(sae, x_BD, asked.density)
    steps[asked.peer].sae.load_state_dict(sae.state_dict())
    for _ in range(AGREEING_STEPS if sae.adapts else 0):
        steps["ours"](x_BD)
    with torch.no_grad():
        return (sae.encode(x_BD) != 0).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architecture", default="topk")
    parser.add_argument("--peer", choices=PEERS, default="saelens")
    for name, value in (
        ("d_in", 1024),
        ("d_sae", 16384),
        ("k", 100),
        ("batch", 4096),
        ("runs", 5),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--density", type=float, help="share of active latents, for those without k")
    parser.add_argument("--autocast", action="store_true")
    parser.add_argument("--kernels", choices=["auto", "dense", "sparse"], default="auto")
    parser.add_argument("--two_stages", action="store_true", help="bfloat16 picks, float32 decides")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    options, generator = options_of(asked), torch.Generator().manual_seed(0)
    rates = (1e-3, 1e-4) if asked.density is None else (RESTING_LR, RESTING_LR)
    peer = PEERS[asked.peer](asked, options, *rates)
    steps: dict[str, Any] = {"ours": ours(asked, options), asked.peer: peer}
    rows = Rows(asked, generator)
    density = None if asked.density is None else start_at_density(asked, steps, rows)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in (*steps, "product")}
    W_FD = torch.randn(asked.d_sae, asked.d_in, generator=generator)
    zeros_F = torch.zeros(asked.d_sae)
    load = [os.getloadavg()]
    for number in range(WARM_UP + asked.runs):
        x_BD = rows.draw()
        for name in list(steps) if number % 2 == 0 else list(steps)[::-1]:
            seconds = seconds_of(lambda name=name, x_BD=x_BD: steps[name](x_BD))
            runs[name] += [seconds] if number >= WARM_UP else []
        seconds = seconds_of(lambda x_BD=x_BD: affine(x_BD, W_FD.t(), zeros_F))
        runs["product"] += [seconds] if number >= WARM_UP else []
    for name, step in steps.items():
        for run in runs[name]:
            run["peak"] = peak_of(partial(step, rows.draw()))
    load.append(os.getloadavg())
    result: dict[str, Any] = {
        **vars(asked),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "load": load,
    }
    shape = f"{asked.architecture} {asked.d_in} -> {asked.d_sae}, batch {asked.batch}"
    shape += f", k {asked.k}" if "k" in options else ""
    shape += ", two stages" if asked.two_stages else ""
    result["shape"] = shape if density is None else f"{shape}, density {asked.density}"
    result["kernels"], result["measured_density"] = steps["ours"].sae.kernels(), density
    measures: dict[str, Any] = {}
    for what, unit, scale in (("wall", "ms", 1e3), ("cpu", "ms of CPU", 1e3), ("peak", "MB", 1e-6)):
        of_all = {
            name: summary([run[what] * scale for run in made])
            for name, made in runs.items()
            if what in made[0]
        }
        ratio = round(of_all[asked.peer]["median"] / of_all["ours"]["median"], 2)
        measures[f"step, {what}"] = {"unit": unit, **of_all, "ratio": ratio}
    result["measures"] = measures
    cpu = measures["step, cpu"]
    result["over_product"] = round(cpu["ours"]["median"] / cpu["product"]["median"], 2)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
