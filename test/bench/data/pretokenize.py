"""Pretokenizing: documents and tokens a second, ours and SAELens' PretokenizeRunner, in turn, on one machine.

    python test/bench/data/pretokenize.py --judge PYTHON_WITH_SAELENS --tokenizer T --text FILE.parquet
        [--num_proc 2] [--runs 5] [--copies 1]

Both read the same parquet file (``copies`` times, as so many files), with the same tokenizer, ``num_proc``, context and
batch size, shuffle, and write the dataset to disk. Each run is a process of its own; what is timed begins when the
libraries are imported and ends when the dataset is written, by the clock and by the seconds of CPU of the process and
its children. The library's cache is empty at each run. The JSON on stdout has every run, medians, ranges and the ratio
of the medians, ours to SAELens', with the load before and after.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
CONTEXT = 128


def ours(asked: argparse.Namespace, files: list[str], out: str) -> Callable[[], int]:
    """Our worker's operation, as the command line asks for it."""
    # Ours are imported where they are needed, SAELens' with it: neither counts.
    import datasets  # noqa: F401
    import torch  # noqa: F401
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: F401

    sys.path[:0] = [str(ROOT), str(ROOT / "test/python/runners")]
    from small_work import run

    def work() -> int:
        made = run(
            tokenizer_name=asked.tokenizer,
            dataset_path="parquet",
            data_files=files,
            context_size=CONTEXT,
            sequence_separator_token="bos",
            pretokenize_batch_size=1000,
            num_proc=asked.num_proc,
            save_path=out,
        )
        return made["n_sequences"]

    return work


def saelens(asked: argparse.Namespace, files: list[str], out: str) -> Callable[[], int]:
    """SAELens' runner; it leaves the sequences that cross a batch out."""
    import datasets
    from sae_lens import PretokenizeRunner, PretokenizeRunnerConfig

    datasets.disable_progress_bars()

    def work() -> int:
        options = PretokenizeRunnerConfig(
            tokenizer_name=asked.tokenizer,
            dataset_path="parquet",
            data_files=files,
            context_size=CONTEXT,
            num_proc=asked.num_proc,
            seed=42,
            save_path=out,
        )
        return len(PretokenizeRunner(options).run())

    return work


def play(asked: argparse.Namespace) -> dict[str, float]:
    """One run of one of them, in this process."""
    files = sorted(str(file) for file in Path(asked.folder, "text").iterdir())
    out = str(Path(asked.folder, "out"))
    work = (ours if asked.role == "ours" else saelens)(asked, files, out)
    began, cpu = time.perf_counter(), os.times()
    n_sequences = work()
    seconds, after = time.perf_counter() - began, os.times()
    used = sum(after[:4]) - sum(cpu[:4])
    return {"seconds": seconds, "cpu_seconds": used, "n_tokens": n_sequences * CONTEXT}


def child(python: str, role: str, asked: argparse.Namespace) -> dict[str, float]:
    """One run in a process with an empty cache."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment["HF_DATASETS_CACHE"] = str(Path(asked.folder, "cache"))
    words = [f"--{name}={getattr(asked, name)}" for name in ("folder", "tokenizer", "num_proc")]
    command = [python, __file__, "--role", role, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    for name in ("cache", "out"):
        shutil.rmtree(Path(asked.folder, name), ignore_errors=True)
    return json.loads(done.stdout.splitlines()[-1])


def summary(runs: list[dict[str, float]], seconds: str) -> dict[str, Any]:
    """Tokens a second."""
    speeds = [round(run["n_tokens"] / run[seconds]) for run in runs]
    return {"median": statistics.median(speeds), "range": [min(speeds), max(speeds)], "runs": speeds}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", default=os.environ.get("SAE_LENS_TS_JUDGE_PYTHON"))
    parser.add_argument("--role", choices=["ours", "saelens"])
    parser.add_argument("--folder")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--text")
    parser.add_argument("--num_proc", type=int, default=2)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    if asked.role:
        print(json.dumps(play(asked)))
        return
    if not asked.judge or not asked.text:
        raise SystemExit("--text, and --judge or SAE_LENS_TS_JUDGE_PYTHON (a Python with SAELens 6.54.12)")
    load = [os.getloadavg()]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "saelens": []}
    with tempfile.TemporaryDirectory() as asked.folder:
        Path(asked.folder, "text").mkdir()
        for number in range(asked.copies):
            shutil.copy(asked.text, Path(asked.folder, "text", f"{number:03d}.parquet"))
        for number in range(asked.runs):
            for role in ("ours", "saelens") if number % 2 == 0 else ("saelens", "ours"):
                runs[role].append(child(sys.executable if role == "ours" else asked.judge, role, asked))
    load.append(os.getloadavg())
    result: dict[str, Any] = {
        "shape": f"{Path(asked.text).name} x {asked.copies}, {Path(asked.tokenizer).name}, context {CONTEXT}",
        "num_proc": asked.num_proc,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "load": load,
        "tokens": {role: runs[role][0]["n_tokens"] for role in runs},
    }
    measures: dict[str, Any] = {}
    for seconds in ("seconds", "cpu_seconds"):
        speeds = {role: summary(of_role, seconds) for role, of_role in runs.items()}
        ratio = round(speeds["ours"]["median"] / speeds["saelens"]["median"], 2)
        unit = "tokens / s" if seconds == "seconds" else "tokens / s of CPU"
        measures[f"pretokenize, {'wall' if seconds == 'seconds' else 'cpu'}"] = {
            "unit": unit,
            **speeds,
            "ratio": ratio,
        }
    result["measures"] = measures
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
