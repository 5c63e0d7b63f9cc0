"""Training from a cache of activations: rows a second, ours and SAELens', in turn, on one machine and one thread.

    python test/bench/data/train-from-cache.py --judge PYTHON_WITH_SAELENS [--runs 5] [--steps 200]

Both get the same cache, buffer (rows), batch, SAE and number of steps, no logging and no evaluation; what is timed is
the training loop alone, and its reading alone (``reading``: batches taken and thrown away), by the clock and by the
seconds of CPU, which a busy machine disturbs less. The JSON on stdout has every run, medians, ranges and the ratio of
the medians, ours to SAELens', with the load before and after.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HOOK = "blocks.0.hook_resid_post"
CONTEXT, PROMPTS, BUFFER_BATCHES, BATCH = 128, 32, 8, 4096
SAE = {
    "topk": {"k": 8},
    "standard": {"l1_coefficient": 1.0},
}


def write_cache(path: Path, d_in: int, n_sequences: int) -> None:
    """A cache as SAELens lays it out, of low-rank activations with noise; two shards."""
    import datasets
    import numpy as np

    draw = np.random.default_rng(0)
    basis = draw.standard_normal((16, d_in)).astype("f4")
    codes = draw.standard_normal((n_sequences * CONTEXT, 16)).astype("f4").clip(0)
    noise = draw.standard_normal((n_sequences * CONTEXT, d_in)).astype("f4")
    x = (codes @ basis + 0.1 * noise).reshape(n_sequences, CONTEXT, d_in)
    features = datasets.Features(
        {
            HOOK: datasets.Array2D((CONTEXT, d_in), "float32"),
            "token_ids": datasets.Sequence(datasets.Value("int32"), length=CONTEXT),
        }
    )
    tokens = draw.integers(0, 512, (n_sequences, CONTEXT)).astype("i4")
    columns = {HOOK: x, "token_ids": tokens}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(path, num_shards=2)


def timed(fit: Callable[[], object], batches: Iterator, n_steps: int) -> dict[str, float]:
    """Seconds, by the clock and of CPU, of training and of reading as many batches."""

    def read() -> None:
        for _ in range(n_steps):
            next(batches)

    seconds = {}
    for name, work in (("training", fit), ("reading", read)):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        seconds[name] = time.perf_counter() - wall
        seconds[f"{name}_cpu"] = time.process_time() - cpu
    return seconds


def ours(asked: argparse.Namespace) -> dict[str, float]:
    """Ours, as the worker trains."""
    sys.path[:0] = [str(ROOT), str(ROOT / "test/python")]
    import torch
    from complete_config import config_for

    from pyworker.data.activation_cache import ActivationCache
    from pyworker.data.activation_stream import ActivationStream
    from pyworker.data.cached_rows import CachedRows, CachedSequences
    from pyworker.saes import create_sae, seeded_generator
    from pyworker.train import SAETrainer

    torch.set_num_threads(1)
    run = {
        "hook_name": HOOK,
        "context_size": CONTEXT,
        "store_batch_size_prompts": PROMPTS,
        "n_batches_in_buffer": BUFFER_BATCHES,
        "train_batch_size_tokens": BATCH,
        "training_tokens": asked.steps * BATCH,
        "on_data_end": "repeat",
        "use_cached_activations": True,
        "cached_activations_path": asked.cache,
        "feature_sampling_window": 2000,
    }
    config = config_for(
        asked.architecture, run, d_in=asked.d_in, d_sae=asked.d_sae, **SAE[asked.architecture]
    )
    config.logger.wandb_log_frequency = 10**9

    def stream() -> ActivationStream:
        sequences = CachedSequences(ActivationCache.open(asked.cache), HOOK)
        return ActivationStream(config, CachedRows(config, sequences, 0, list))

    class Silent:
        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    trainer = SAETrainer(create_sae(config.sae, seeded_generator(42)), config, stream(), Silent())
    trainer.fit()  # first touches, as for SAELens below
    trainer = SAETrainer(create_sae(config.sae, seeded_generator(42)), config, stream(), Silent())
    return timed(trainer.fit, stream(), asked.steps)


def saelens(asked: argparse.Namespace) -> dict[str, float]:
    """The same of SAELens. It is given no model: its trainer needs none where nothing is evaluated."""
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from sae_lens import (
        LanguageModelSAERunnerConfig,
        LoggingConfig,
        StandardTrainingSAE,
        StandardTrainingSAEConfig,
        TopKTrainingSAE,
        TopKTrainingSAEConfig,
    )
    from sae_lens.training.activations_store import ActivationsStore
    from sae_lens.training.sae_trainer import SAETrainer

    torch.set_num_threads(1)
    made = {
        "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
        "standard": (StandardTrainingSAE, StandardTrainingSAEConfig),
    }
    sae_class, config_class = made[asked.architecture]
    sae_config = config_class(d_in=asked.d_in, d_sae=asked.d_sae, **SAE[asked.architecture])
    import datasets

    tokens = datasets.Dataset.from_dict({"tokens": [[1] * CONTEXT] * 4})
    config = LanguageModelSAERunnerConfig(
        sae=sae_config,
        model_name="gpt2",
        hook_name=HOOK,
        dataset_path="unread",
        streaming=False,
        context_size=CONTEXT,
        store_batch_size_prompts=PROMPTS,
        # SAELens counts its buffer in sequences.
        n_batches_in_buffer=BUFFER_BATCHES * PROMPTS,
        train_batch_size_tokens=BATCH,
        training_tokens=asked.steps * BATCH,
        use_cached_activations=True,
        cached_activations_path=asked.cache,
        logger=LoggingConfig(log_to_wandb=False),
        lr=1e-3,
        device="cpu",
        n_checkpoints=0,
        checkpoint_path=None,
        output_path=None,
    )

    def store():
        # The dataset is not read when there is a cache, but it must be there.
        return ActivationsStore.from_config(None, config, override_dataset=tokens)

    def trainer():
        return SAETrainer(
            cfg=config.to_sae_trainer_config(), sae=sae_class(sae_config), data_provider=iter(store())
        )

    trainer().fit()
    return timed(trainer().fit, iter(store()), asked.steps)


def child(python: str, role: str, asked: argparse.Namespace) -> dict[str, float]:
    arguments = [
        f"--{name}={getattr(asked, name)}" for name in ("cache", "steps", "architecture", "d_in", "d_sae")
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, __file__, "--role", role, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def summary(seconds: list[float], n_rows: int) -> dict[str, object]:
    """Rows a second."""
    speeds = [round(n_rows / s) for s in seconds]
    return {"median": statistics.median(speeds), "range": [min(speeds), max(speeds)], "runs": speeds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", default=os.environ.get("SAE_LENS_TS_JUDGE_PYTHON"))
    parser.add_argument("--role", choices=["ours", "saelens"])
    parser.add_argument("--cache")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--sequences", type=int, default=2048)
    parser.add_argument("--architecture", choices=list(SAE), default="topk")
    parser.add_argument("--d_in", type=int, default=64)
    parser.add_argument("--d_sae", type=int, default=256)
    asked = parser.parse_args()
    if asked.role:
        print(json.dumps(ours(asked) if asked.role == "ours" else saelens(asked)))
        return
    if not asked.judge:
        raise SystemExit("--judge or SAE_LENS_TS_JUDGE_PYTHON must name a Python with SAELens 6.54.12")
    load = [os.getloadavg()]
    times: dict[str, list[dict[str, float]]] = {"ours": [], "saelens": []}
    with tempfile.TemporaryDirectory() as folder:
        asked.cache = str(Path(folder) / "cache")
        write_cache(Path(asked.cache), asked.d_in, asked.sequences)
        for number in range(asked.runs):
            for role in ("ours", "saelens") if number % 2 == 0 else ("saelens", "ours"):
                times[role].append(child(sys.executable if role == "ours" else asked.judge, role, asked))
    load.append(os.getloadavg())
    n_rows = asked.steps * BATCH
    shape = f"{asked.architecture} {asked.d_in} -> {asked.d_sae}, batch {BATCH}, {asked.steps} steps"
    result: dict[str, object] = {"shape": shape, "threads": 1, "cpus": os.cpu_count(), "load": load}
    result["machine"] = platform.machine()
    measures: dict[str, object] = {}
    for what in ("training", "training_cpu", "reading", "reading_cpu"):
        speeds = {role: summary([run[what] for run in runs], n_rows) for role, runs in times.items()}
        ratio = speeds["ours"]["median"] / speeds["saelens"]["median"]
        unit = "rows / s of CPU" if what.endswith("cpu") else "rows / s"
        name = f"from cache, {what.removesuffix('_cpu')}, {'cpu' if what.endswith('cpu') else 'wall'}"
        measures[name] = {"unit": unit, **speeds, "ratio": round(ratio, 2)}
    result["measures"] = measures
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
