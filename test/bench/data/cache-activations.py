"""Writing a cache of activations: tokens a second, ours and SAELens', in turn, on one machine and one thread.

    python test/bench/data/cache-activations.py --judge PYTHON_WITH_SAELENS [--runs 3] [--sequences 2048]

Both read the same texts with the same model (stories260K), hook, context, batch and number of tokens, and write the
same number of files. ``whole`` is the run of each: texts to a finished cache, the model being loaded already.
``writing`` is the same without texts and model, whose activations are there: what the disk format alone costs. Each is
timed by the clock and by the seconds of CPU, which a busy machine disturbs less. The JSON on stdout has every run,
medians, ranges and the ratio of the medians, ours to SAELens', with the load before and after.
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
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("SAE_LENS_TS_SHARED", ROOT.parent / "shared"))
HOOK, D_IN, CONTEXT, PROMPTS, FILES = "blocks.2.hook_resid_post", 64, 128, 32, 4


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Seconds, by the clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def ours(asked: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Ours, as the worker caches."""
    sys.path[:0] = [str(ROOT)]
    import msgspec
    import numpy as np
    import torch

    from pyworker.data.activation_cache_work import CacheShape, CacheWork
    from pyworker.protocol.cache_activations_config import CacheActivationsRunnerConfig
    from pyworker.runners.cache_activations import cache_activations, load_model

    torch.set_num_threads(1)

    class Silent:
        def stop_requested(self) -> bool:
            return False

        def __getattr__(self, name):
            return lambda *args, **kwargs: None

    config = {
        **{
            "model_name": asked.model,
            "model_class_name": "HookedTransformer",
            "hook_name": HOOK,
            "d_in": D_IN,
        },
        **{"model_kwargs": {}, "model_from_pretrained_kwargs": {}, "dataset_path": asked.dataset},
        **{"dataset_name": None, "dataset_split": "train", "dataset_column": None, "streaming": True},
        **{"dataset_trust_remote_code": False, "is_dataset_tokenized": None, "use_chat_formatting": False},
        **{"context_size": CONTEXT, "prepend_bos": True, "disable_concat_sequences": False},
        **{"sequence_separator_token": "bos", "seqpos_slice": [None], "shuffle": True, "seed": 42},
        **{"training_tokens": asked.sequences * CONTEXT, "model_batch_size": PROMPTS, "device": "cpu"},
        **{"dtype": "float32", "autocast_lm": False, "compile_llm": False, "llm_compilation_mode": None},
        **{"n_threads": 1, "new_cached_activations_path": str(folder / "whole"), "buffer_size_gb": 2.0},
        **{"hf_repo_id": None, "hf_num_shards": FILES, "hf_revision": "main", "hf_is_private_repo": False},
    }
    load_model(msgspec.convert(config, CacheActivationsRunnerConfig), Silent())
    whole = timed(lambda: cache_activations({"config": config, "recorded": config}, Silent()))
    shape = CacheShape({HOOK: D_IN}, CONTEXT, slice(None), "float32", asked.sequences, PROMPTS)
    x_PCD = torch.randn(PROMPTS, CONTEXT, D_IN)
    tokens_NC = np.ones((asked.sequences, CONTEXT), "i4")
    work = CacheWork(shape, tokens_NC, lambda tokens_PC: {HOOK: x_PCD}, 42)

    def write() -> None:
        for number, batches in enumerate(shape.shards(2.0, FILES)):
            work.write(batches, folder / f"{number}.arrow", lambda rows: None)

    return {"whole": whole, "writing": timed(write)}


def saelens(asked: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """The same of SAELens."""
    os.environ["TQDM_DISABLE"] = "1"
    import datasets
    import torch
    from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig
    from transformer_lens import loading_from_pretrained

    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    loading_from_pretrained.OFFICIAL_MODEL_NAMES.append(asked.model)  # it loads no folders otherwise
    bytes_per_file = asked.sequences // FILES * CONTEXT * D_IN * 4

    def runner(name: str) -> CacheActivationsRunner:
        config = CacheActivationsRunnerConfig(
            dataset_path=asked.dataset,
            model_name=asked.model,
            model_batch_size=PROMPTS,
            hook_name=HOOK,
            d_in=D_IN,
            training_tokens=asked.sequences * CONTEXT,
            context_size=CONTEXT,
            new_cached_activations_path=str(folder / name),
            device="cpu",
            buffer_size_gb=bytes_per_file / 1e9,
        )
        assert config.n_buffers == FILES, config.n_buffers
        return CacheActivationsRunner(config)

    whole = timed(runner("whole").run)
    x, tokens = torch.randn(PROMPTS * CONTEXT, D_IN), torch.ones(PROMPTS * CONTEXT, dtype=torch.long)
    writer = runner("writing")
    writer.activations_store.get_raw_llm_batch = lambda: (x, tokens)
    return {"whole": whole, "writing": timed(writer.run)}


def child(python: str, role: str, asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One run in a process and a folder of its own."""
    arguments = [f"--{name}={getattr(asked, name)}" for name in ("model", "dataset", "sequences")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [python, __file__, "--role", role, "--folder", folder, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def summary(seconds: list[float], n_tokens: int) -> dict[str, object]:
    """Tokens a second."""
    speeds = [round(n_tokens / s) for s in seconds]
    return {"median": statistics.median(speeds), "range": [min(speeds), max(speeds)], "runs": speeds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge", default=os.environ.get("SAE_LENS_TS_JUDGE_PYTHON"))
    parser.add_argument("--role", choices=["ours", "saelens"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=2048)
    parser.add_argument("--model", default=str(SHARED / "fixtures/models/stories260K"))
    parser.add_argument("--dataset", default=str(SHARED / "fixtures/datasets/tinystories"))
    asked = parser.parse_args()
    if asked.role:
        print(json.dumps((ours if asked.role == "ours" else saelens)(asked, asked.folder)))
        return
    if not asked.judge:
        raise SystemExit("--judge or SAE_LENS_TS_JUDGE_PYTHON must name a Python with SAELens 6.54.12")
    load = [os.getloadavg()]
    times: dict[str, list[dict[str, dict[str, float]]]] = {"ours": [], "saelens": []}
    for number in range(asked.runs):
        for role in ("ours", "saelens") if number % 2 == 0 else ("saelens", "ours"):
            times[role].append(child(sys.executable if role == "ours" else asked.judge, role, asked))
    load.append(os.getloadavg())
    n_tokens = asked.sequences * CONTEXT
    result: dict[str, object] = {
        "shape": f"{HOOK}, {D_IN} wide, {PROMPTS} x {CONTEXT} a batch, {n_tokens} tokens in {FILES} files, float32",
        "threads": 1,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "load": load,
    }
    measures: dict[str, object] = {}
    for what in ("whole", "writing"):
        for clock in ("wall", "cpu"):
            speeds = {
                role: summary([run[what][clock] for run in runs], n_tokens) for role, runs in times.items()
            }
            ratio = speeds["ours"]["median"] / speeds["saelens"]["median"]
            unit = "tokens / s" if clock == "wall" else "tokens / s of CPU"
            measures[f"cache, {what}, {clock}"] = {"unit": unit, **speeds, "ratio": round(ratio, 2)}
    result["measures"] = measures
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
