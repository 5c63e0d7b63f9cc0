"""The command ``features``, orchestrator included: all latents of a TopK SAE on a million tokens of a small model.

    python test/bench/features.py --model FOLDER --text FILE.parquet [--threads 2]

The SAE is a random one whose latents are about equally often active, and the text is repeated until it is long enough:
neither changes what there is to do. By the clock, by seconds of CPU of all processes, and the most memory one process
held. There is no other program beside it: SAEDashboard needs a matrix of all tokens and latents. The JSON on stdout has
every run.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOOK, CONTEXT, PROMPTS = "blocks.2.hook_resid_post", 256, 16


class Unscaled:
    """Nothing is done to the activations."""

    def fold_into(self, sae: Any) -> None:
        """As they are."""


def write_sae(folder: Path, asked: argparse.Namespace) -> None:
    """A random SAE, as a training would leave it."""
    sys.path[:0] = [str(ROOT), str(ROOT / "test/python")]
    import torch
    from complete_config import config_for

    from pyworker.saes import create_sae, seeded_generator
    from pyworker.saes.inference import to_inference
    from pyworker.saes.saving import save_inference

    config = config_for("topk", d_in=asked.d_in, d_sae=asked.d_sae, k=asked.k)
    sae = to_inference(create_sae(config.sae, seeded_generator(0)), Unscaled())
    sae.b_dec.data = torch.randn(asked.d_in, generator=torch.Generator().manual_seed(1)) / 10
    metadata = {
        "model_name": asked.model,
        "hook_name": HOOK,
        "dataset_path": "text.jsonl",
        "context_size": CONTEXT,
    }
    save_inference(sae, folder / "sae", metadata)


def write_text(folder: Path, asked: argparse.Namespace) -> None:
    """Rows of the text until there are enough, with a token of at most so many characters."""
    from pyarrow import parquet

    rows = parquet.read_table(asked.text)["text"].to_pylist()
    copies = 1 + 4 * asked.tokens // sum(len(row) for row in rows)
    with (folder / "text.jsonl").open("w") as file:
        for _ in range(copies):
            file.writelines(json.dumps({"text": row}) + "\n" for row in rows)


def measured(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """One run of the command in a process of its own, so that its peak is its own."""
    options = {
        "n_tokens": asked.tokens,
        "context_size": CONTEXT,
        "batch_size_prompts": PROMPTS,
        "dataset_path": folder / "text.jsonl",
        "device": "cpu",
        "output": folder / "features",
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = ["node", str(ROOT / "bin/sae-lens-ts.js"), "features", str(folder / "sae"), *words, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    seconds, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(done.stderr + done.stdout)
    about = json.loads(done.stdout)["features"][0]["about"]
    if about["n_latents"] != asked.d_sae or about["n_tokens"] < 0.95 * asked.tokens:
        raise SystemExit(f"not what was asked for: {about}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"whole, wall": seconds, "whole, cpu": cpu, "peak": after.ru_maxrss / 1e3}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    for name, value in (("d_in", 64), ("d_sae", 4096), ("k", 16), ("tokens", 1_000_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    load, runs = [os.getloadavg()], []
    with tempfile.TemporaryDirectory() as name:
        write_sae(Path(name), asked)
        write_text(Path(name), asked)
        runs = [measured(Path(name), asked) for _ in range(asked.runs)]
    load.append(os.getloadavg())
    measures = {}
    for what, unit in (("whole, wall", "s"), ("whole, cpu", "s of CPU"), ("peak", "MB")):
        values = [round(run[what], 1) for run in runs]
        ours = {"median": statistics.median(values), "range": [min(values), max(values)], "runs": values}
        measures[what] = {"unit": unit, "ours": ours}
    sae = f"topk {asked.d_in} -> {asked.d_sae}, k {asked.k}"
    shape = f"features, {Path(asked.model).name} {HOOK}, {sae}, {asked.tokens} tokens"
    told = {"shape": shape, "threads": asked.threads, "machine": platform.machine(), "load": load}
    print(json.dumps({**told, "measures": measures}, indent=2))


if __name__ == "__main__":
    main()
