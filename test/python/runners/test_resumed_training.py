"""A run that goes on from a checkpoint is the run that was never interrupted: every metric and weight, bit for bit."""

import json
import sys
from pathlib import Path

import datasets
import msgspec
import pytest
import torch
from safetensors.torch import load_file

from pyworker.runners import training
from pyworker.runners.training import train
from pyworker.train.training_state import read_state

sys.path.insert(0, str(Path(__file__).parent))
import test_training
import test_training_rows

place, configure, cache = test_training.place, test_training_rows.configure, test_training_rows.cache

"""What tells of the process and not of the run."""


class Session(test_training.Session):
    """Keeps the rows, and moves each checkpoint to its place, as TypeScript does. ``stop_at``: after so many steps."""

    def __init__(self, stop_at: int | None = None):
        super().__init__()
        self.rows: list[dict] = []
        self.rows_before: dict[int, int] = {}
        self.kernels: list[str] = []
        self.stop_at = stop_at

    def metrics(self, name, row):
        self.rows.append({key: value for key, value in row.items() if not key.startswith("system/")})

    def log(self, level, message):
        self.kernels += [message] if "kernels from here on" in message else []

    def event(self, kind, /, **data):
        if kind == "checkpoint" and data["purpose"] != "output":
            Path(data["staging"]).rename(data["final"])
            self.rows_before[data["n_training_samples"]] = data["n_rows"]

    def stop_requested(self):
        return self.stages[-1][:2] == ("train", self.stop_at)


def run(config, folder: Path, resume: Path | None = None, stop_at: int | None = None) -> Session:
    places = {
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "out"),
        "staging_suffix": "t",
        "rescue": None,
        "kernel_timings": str(folder / "kernels.json"),
    }
    recorded = {name: getattr(config, name) for name in ("model_name", "dataset_path")}
    params = {
        "config": msgspec.to_builtins(config),
        "saes": None,
        "places": places,
        "recorded": recorded,
        "fed": False,
    }
    session = Session(stop_at)
    session.result = train({**params, "resume": resume and str(resume)}, session)
    return session


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out.t" / "sae_weights.safetensors")


def check_goes_on(whole: Session, at: Path, one: Session, folder: Path, resumed: Path) -> None:
    """The rows behind the checkpoint and the finished SAE are those of the whole run."""
    n_done = json.loads((at / "training_state.json").read_text())["n_training_steps"]
    expected = [row for row in whole.rows if row["step"] >= n_done]
    assert one.rows == expected and len(expected) > 0
    assert whole.rows_before[int(at.name)] == len(whole.rows) - len(expected)
    ours, theirs = weights(resumed), weights(folder)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


N_STEPS = 30
LONG = {"training_tokens": 64 * N_STEPS, "n_checkpoints": 4}
SCALED = {"normalize_activations": "expected_average_only_in"}
CASES: dict[str, tuple[dict, str, dict]] = {
    "topk, dense": ({}, "topk", {}),
    "topk, by index, dead latents": ({"dead_feature_window": 3}, "topk", {"kernels": "sparse"}),
    "standard, kernels that change": (
        {"lr": 3e-3},
        "standard",
        {"l1_coefficient": 30.0, "l1_warm_up_steps": 12},
    ),
    "standard, noise": ({}, "standard", {"noise_scale": 0.1}),
    "jumprelu": (
        {"lr_warm_up_steps": 9},
        "jumprelu",
        {"l0_warm_up_steps": 20, "pre_act_loss_coefficient": 1.0},
    ),
    "jumprelu of v5": ({}, "jumprelu", {"vocabulary": "v5"}),
    "gated": (
        {"lr_decay_steps": 12, "lr_scheduler_name": "cosineannealing"},
        "gated",
        {"l1_warm_up_steps": 20},
    ),
    "batchtopk": ({}, "batchtopk", SCALED),
    "matryoshka": ({}, "matryoshka_batchtopk", {}),
    "whitened": ({}, "topk", {"normalize_activations": "covariance_whitening"}),
    "scaled, b_dec from the data": ({}, "standard", {**SCALED, "b_dec_init_method": "geometric_median"}),
    "fine-tuned": (
        {"training_tokens": 64 * 14, "finetuning_tokens": 64 * 16, "finetuning_method": "decoder"},
        "topk",
        {},
    ),
    "bfloat16": ({"dtype": "bfloat16"}, "topk", {"dtype": "bfloat16"}),
}


@pytest.mark.parametrize("case", CASES)
def test_from_every_checkpoint_a_run_goes_on_as_it_would_have(make_config, place, tmp_path, case):
    options, architecture, sae = CASES[case]
    whole_config = test_training.config(make_config, place, **{**LONG, **options})
    whole_config.sae = make_config(architecture, {}, d_in=32, **sae).sae
    whole_config.logger.wandb_log_frequency, whole_config.logger.eval_every_n_wandb_logs = 1, 8
    whole = run(whole_config, tmp_path / "whole")
    assert len([row for row in whole.rows if "losses/overall_loss" in row]) == N_STEPS
    checkpoints = sorted((tmp_path / "whole/checkpoints").iterdir(), key=lambda path: int(path.name))
    assert len(checkpoints) >= 3
    if "change" in case:
        assert len(whole.kernels) > 0, "the kernels were to change"
    for at in checkpoints:
        folder = tmp_path / at.name
        check_goes_on(whole, at, run(whole_config, folder, at), tmp_path / "whole", folder)


def test_rows_of_every_source_go_on_where_they_were(make_config, configure, cache, place, tmp_path):
    """Stopped anywhere, as by Ctrl-C, also twice, and far behind the end of the first pass over the data."""
    tokens = datasets.load_from_disk(str(cache)).rename_column("token_ids", "input_ids")
    tokens.select_columns("input_ids").save_to_disk(str(tmp_path / "tokens"))
    sources = {
        "cache": {"use_cached_activations": True, "cached_activations_path": str(cache), "dataset_path": ""},
        "cache, mixed": {
            "use_cached_activations": True,
            "cached_activations_path": str(cache),
            "activations_mixing_fraction": 0.5,
        },
        "tokens": {"dataset_path": str(tmp_path / "tokens"), "activations_mixing_fraction": 0.5},
        "streamed text": {"streaming": True, "prefetch_llm_batches": 2, "activations_mixing_fraction": 0.9},
        "to the end of the data": {"on_data_end": "stop", "training_tokens": 64_000, "dataset_path": ""}
        | {"use_cached_activations": True, "cached_activations_path": str(cache)},
    }
    for name, options in sources.items():
        config = configure(**{"training_tokens": 64 * 40, **options})
        folder = tmp_path / name
        whole = run(config, folder)
        rows, at = [], None
        for stop_at in (1, 7, 18, None):
            part = run(config, folder / str(stop_at), at, stop_at)
            rows += part.rows
            at = folder / str(stop_at) / "checkpoints" / str(64 * (stop_at or 0))
        assert part.result == whole.result, name
        assert rows == whole.rows, name
        ours, theirs = weights(folder / "None"), weights(folder)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def test_an_item_that_was_not_restored_would_be_seen(make_config, place, tmp_path, monkeypatch):
    """The comparisons above can fail: they do, whatever is left out of the state."""
    options = {"training_tokens": 64 * 20, "n_checkpoints": 1, "dead_feature_threshold": 0.3}
    config = test_training.config(make_config, place, **options)
    sae = {"d_in": 32, "noise_scale": 0.1, "normalize_activations": "expected_average_only_in"}
    config.sae = make_config("standard", **sae).sae
    config.logger.wandb_log_frequency = 1
    whole = run(config, tmp_path / "whole")
    at = tmp_path / "whole/checkpoints/704"
    state = read_state(at)
    other_noise = torch.Generator().manual_seed(1).get_state()
    damages = {
        "trainer.n_training_steps": 10,
        "trainer.n_training_samples": 640,
        "trainer.scaler.factor": 1.0,
        "trainer.firing.n_samples": 0,
        "trainer.firing.last_n_samples": 10_000,
        "trainer.firing.steps_since_fired_F": state["trainer.firing.steps_since_fired_F"] + 1,
        "trainer.sae.noise_generator": other_noise,
        "stream.n_chunks": state["stream.n_chunks"] + 1,
        "stream.buffer.n_refills": 1,
        "stream.buffer.batches_ready": 0,
        **{
            name: torch.zeros_like(state[name])
            for name in ("trainer.firing.firings_F", "trainer.firing.last_firings_F", "stream.buffer.x_ND")
        },
        **{
            name: torch.zeros_like(value)
            for name, value in state.items()
            if name.startswith(("trainer.sae.weights.", "trainer.optimizer.")) and value.any()
        },
    }
    assert len(damages) > 20
    for name, damage in damages.items():
        damaged = {**state, name: damage}
        monkeypatch.setattr(training, "read_state", lambda _, damaged=damaged: damaged)
        rows = run(config, tmp_path / "damaged", at).rows
        assert rows != [row for row in whole.rows if row["step"] >= 11], name
