"""A whole training run, ours and SAELens 6.54.12's, in turn: the same model, text, SAE and tokens, no evaluation.

    python test/bench/run.py --judge PYTHON_WITH_SAELENS --model FOLDER --hook model.layers.2 --text FILE.parquet

Ours is the command line, orchestrator included; SAELens' is its runner in a script. ``training`` is from the loaded
model to the finished SAE, ``whole`` the command from its start to its end, by the clock and by seconds of CPU of all
its processes, which a busy machine disturbs less; ``peak`` the most memory one process held. With ``--saes N`` ours
trains N SAEs of different k and learning rate on one pass of the model, SAELens one after the other in one process,
and the tokens of all count. The JSON on stdout has every run, medians, ranges and the ratio of the medians.
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
CONTEXT, PROMPTS, BUFFER_BATCHES, BATCH = 128, 32, 8, 4096


def variants(asked: argparse.Namespace) -> list[tuple[int, float]]:
    """k and learning rate of each SAE."""
    return [(asked.k << (i % 2), 1e-3 / 2 ** (i // 2)) for i in range(asked.saes)]


def command_of_ours(asked: argparse.Namespace, folder: str) -> list[str]:
    """The command line; nothing is evaluated or sent anywhere."""
    options = {
        "model_name": asked.model,
        "model_class_name": "AutoModelForCausalLM",
        "hook_name": asked.hook,
        "dataset_path": asked.text,
        "streaming": "false",
        "architecture": "topk",
        "d_in": asked.d_in,
        "d_sae": asked.d_sae,
        "k": asked.k,
        "lr": 1e-3,
        "context_size": CONTEXT,
        "store_batch_size_prompts": PROMPTS,
        "n_batches_in_buffer": BUFFER_BATCHES,
        "train_batch_size_tokens": BATCH,
        "training_tokens": asked.tokens,
        "on_data_end": "repeat",
        "eval_every_n_wandb_logs": 10**6,
        "n_eval_batches": 0,
        "autocast": str(asked.autocast).lower(),
        "autocast_lm": str(asked.autocast).lower(),
        "log_to_wandb": "false",
        "device": "cpu",
        "runs_folder": folder,
    }
    if asked.saes > 1:
        saes = {f"sae{i}": {"k": k, "lr": lr} for i, (k, lr) in enumerate(variants(asked))}
        options["saes"] = json.dumps(saes)
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return ["node", str(ROOT / "bin/sae-lens-ts.js"), "train", *flags, "--json"]


def ours(asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of the command; its own events say when training began and ended."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command_of_ours(asked, folder), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    at = {event["event"]: time_of(event["time"]) for event in events if event["event"] != "stage"}
    final = [event for event in events if event["event"] == "stage" and event["stage"] == "evaluate"]
    end = time_of(final[0]["time"]) if final else at["finished"]
    return {"training": end - at["started"]}


def time_of(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time."""
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def saelens(asked: argparse.Namespace) -> dict[str, float]:
    """Seconds of the runner after the model is loaded."""
    os.environ["TQDM_DISABLE"] = "1"
    import datasets
    import torch
    from sae_lens import (
        LanguageModelSAERunnerConfig,
        LanguageModelSAETrainingRunner,
        LoggingConfig,
        TopKTrainingSAEConfig,
    )

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    text = datasets.load_dataset("parquet", data_files=asked.text, split="train")

    def one(k: int, lr: float, folder: str) -> float:
        config = LanguageModelSAERunnerConfig(
            sae=TopKTrainingSAEConfig(d_in=asked.d_in, d_sae=asked.d_sae, k=k),
            model_name=asked.model,
            model_class_name="AutoModelForCausalLM",
            hook_name=asked.hook,
            dataset_path="unread",
            streaming=False,
            context_size=CONTEXT,
            store_batch_size_prompts=PROMPTS,
            # SAELens counts its buffer in sequences.
            n_batches_in_buffer=BUFFER_BATCHES * PROMPTS,
            train_batch_size_tokens=BATCH,
            training_tokens=asked.tokens,
            autocast=asked.autocast,
            autocast_lm=asked.autocast,
            lr=lr,
            device="cpu",
            n_checkpoints=0,
            checkpoint_path=None,
            output_path=folder,
            logger=LoggingConfig(log_to_wandb=False, eval_every_n_wandb_logs=10**6),
        )
        runner = LanguageModelSAETrainingRunner(config, override_dataset=text)
        began = time.perf_counter()
        runner.run()
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        return {"training": sum(one(k, lr, folder) for k, lr in variants(asked))}


def child(python: str, role: str, asked: argparse.Namespace) -> dict[str, float]:
    """One run in processes of its own."""
    names = ("model", "hook", "text", "d_in", "d_sae", "k", "tokens", "saes")
    arguments = [f"--{name}={getattr(asked, name)}" for name in names] + ["--autocast"] * asked.autocast
    environment = {**os.environ, "OMP_NUM_THREADS": str(asked.threads), "HF_HUB_OFFLINE": "1"}
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [python, __file__, "--role", role, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(done.stdout.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**told, "whole": time.perf_counter() - wall, "whole_cpu": cpu}


def summary(values: list[float]) -> dict[str, Any]:
    """Median, range and every run."""
    rounded = [round(value) for value in values]
    return {
        "median": round(statistics.median(values)),
        "range": [min(rounded), max(rounded)],
        "runs": rounded,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", default=os.environ.get("SAE_LENS_TS_JUDGE_PYTHON"))
    parser.add_argument("--role", choices=["ours", "saelens"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--hook", default="model.layers.2")
    for name, value in (("d_in", 64), ("d_sae", 1024), ("k", 16), ("tokens", 400_000), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--saes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--autocast", action="store_true", help="autocast and autocast_lm, on both sides")
    asked = parser.parse_args()
    if asked.role:
        told = ours(asked) if asked.role == "ours" else saelens(asked)
        who = resource.RUSAGE_CHILDREN if asked.role == "ours" else resource.RUSAGE_SELF
        print(json.dumps({**told, "peak": resource.getrusage(who).ru_maxrss / 1e3}))
        return
    if not asked.judge:
        raise SystemExit("--judge or SAE_LENS_TS_JUDGE_PYTHON must name a Python with SAELens 6.54.12")
    load = [os.getloadavg()]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "saelens": []}
    for number in range(asked.runs):
        for role in ("ours", "saelens") if number % 2 == 0 else ("saelens", "ours"):
            runs[role].append(child(sys.executable if role == "ours" else asked.judge, role, asked))
    load.append(os.getloadavg())
    numeric = " autocast" if asked.autocast else ""
    model = f"{Path(asked.model).name} {asked.hook}{numeric}"
    saes = f"{asked.saes} x topk" if asked.saes > 1 else "topk"
    result: dict[str, Any] = {
        "shape": f"whole run, {model}, {saes} {asked.d_in} -> {asked.d_sae}, k {asked.k}, {asked.tokens} tokens",
        "threads": asked.threads,
        "machine": platform.machine(),
        "load": load,
    }
    measures: dict[str, Any] = {}
    for what, unit in (
        ("training", "tokens / s"),
        ("whole", "tokens / s"),
        ("whole_cpu", "tokens / s of CPU"),
    ):
        speeds = {
            role: summary([asked.saes * asked.tokens / run[what] for run in made])
            for role, made in runs.items()
        }
        ratio = speeds["ours"]["median"] / speeds["saelens"]["median"]
        measures[what.replace("_", ", ")] = {"unit": unit, **speeds, "ratio": round(ratio, 2)}
    peaks = {role: summary([run["peak"] for run in made]) for role, made in runs.items()}
    ratio = peaks["saelens"]["median"] / peaks["ours"]["median"]
    measures["peak"] = {"unit": "MB", **peaks, "ratio": round(ratio, 2)}
    result["measures"] = measures
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
