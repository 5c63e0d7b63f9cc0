"""Several SAEs on one pass of the language model: each is what a run of its own gives, bit for bit."""

import sys
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from pyworker.errors import WorkerError
from pyworker.lm.model import LanguageModel
from pyworker.runners.training import train

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from tiny_models import save_tiny_model

RUN = {
    "model_class_name": "AutoModelForCausalLM",
    "hook_name": "model.layers.1",
    "streaming": False,
    "on_data_end": "repeat",
    "n_batches_in_buffer": 4,
    "store_batch_size_prompts": 4,
    "n_eval_batches": 2,
    "n_checkpoints": 1,
    "training_tokens": 1280,
}
SCALED = {"normalize_activations": "expected_average_only_in"}
SAES = {
    "wide": ("topk", {"lr": 3e-3}, {"d_sae": 96, "k": 6, **SCALED}),
    "noisy": ("standard", {"lr_warm_up_steps": 5, "adam_beta1": 0.5}, {"noise_scale": 0.1, **SCALED}),
    "raw": ("batchtopk", {"feature_sampling_window": 3}, {"b_dec_init_method": "mean"}),
    "white": ("gated", {}, {"normalize_activations": "covariance_whitening"}),
}


class Session:
    """Keeps the rows and the events of a run, by SAE."""

    def __init__(self):
        self.rows, self.events = defaultdict(list), []

    def event(self, kind, /, **data):
        self.events.append((kind, data))

    def metrics(self, name, row):
        kept = {key: value for key, value in row.items() if not key.startswith("system/")}
        self.rows[name].append(kept)

    def stage(self, *_): ...

    def log(self, *_): ...

    def tap_wanted(self):
        return False

    def stop_requested(self):
        return False

    def checkpoint_requested(self):
        return False


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    words = (" ".join(f"w{3 + (7 * i + j) % 61}" for j in range(40)) for i in range(200))
    (folder / "texts.txt").write_text("\n".join(words))
    return folder


def config_of(make_config, place: Path, name: str):
    architecture, run, sae = SAES[name]
    places = {"model_name": str(place), "dataset_path": str(place / "texts.txt")}
    return make_config(architecture, {**RUN, **places, **run}, d_in=32, **sae)


def trained(config, saes, folder: Path, resume: Path | None = None) -> Session:
    """What is written stays beside its place, for TypeScript to move."""
    session = Session()
    places = {
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "out"),
        "staging_suffix": "t",
        "rescue": None,
        "kernel_timings": str(folder / "kernels.json"),
    }
    recorded = {"model_name": config.model_name, "dataset_path": config.dataset_path}
    configs = None if saes is None else {name: msgspec.to_builtins(one) for name, one in saes.items()}
    params = {"config": msgspec.to_builtins(config), "saes": configs, "places": places, "fed": False}
    train({**params, "recorded": recorded, "resume": resume and str(resume)}, session)
    return session


@pytest.fixture(scope="module")
def together(place, tmp_path_factory):
    from complete_config import config_for

    folder = tmp_path_factory.mktemp("together")
    configs = {name: config_of(config_for, place, name) for name in SAES}
    return folder, trained(configs["wide"], configs, folder)


@pytest.mark.parametrize("name", SAES)
def test_each_equals_a_run_of_its_own_bit_for_bit(make_config, place, together, tmp_path, name):
    folder, session = together
    alone = trained(config_of(make_config, place, name), None, tmp_path)
    assert session.rows[f"metrics/{name}"] == alone.rows["metrics"]
    assert any("model_performance_preservation/ce_loss_score" in row for row in alone.rows["metrics"])
    for where in ("checkpoints/704.t", "out.t"):
        for file in ("sae_weights.safetensors", "sparsity.safetensors"):
            own, shared = load_file(tmp_path / where / file), load_file(folder / where / name / file)
            assert own.keys() == shared.keys()
            assert all(torch.equal(own[key], shared[key]) for key in own), (where, file)
        own, shared = tmp_path / where / "cfg.json", folder / where / name / "cfg.json"
        assert own.read_bytes() == shared.read_bytes()


def test_all_go_on_together_from_a_checkpoint_bit_for_bit(make_config, place, together, tmp_path):
    folder, whole = together
    configs = {name: config_of(make_config, place, name) for name in SAES}
    one = trained(configs["wide"], configs, tmp_path, folder / "checkpoints/704.t")
    for name in SAES:
        rows = one.rows[f"metrics/{name}"]
        assert rows == [row for row in whole.rows[f"metrics/{name}"] if row["step"] >= 11]
        assert len(rows) > 0
        ours, theirs = (
            load_file(at / "out.t" / name / "sae_weights.safetensors") for at in (tmp_path, folder)
        )
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_what_is_said_names_the_sae(together):
    _, session = together
    assert set(session.rows) == {f"metrics/{name}" for name in SAES}
    started = next(data for kind, data in session.events if kind == "started")
    assert {name: of_sae["d_sae"] for name, of_sae in started["saes"].items()} == {
        "wide": 96,
        "noisy": 32,
        "raw": 32,
        "white": 32,
    }
    assert {data["sae"] for kind, data in session.events if kind == "histogram"} == set(SAES)
    saved = [(data["purpose"], data["saes"]) for kind, data in session.events if kind == "checkpoint"]
    assert saved == [("scheduled", list(SAES)), ("output", list(SAES))]


def test_the_language_model_runs_once_for_all(make_config, place, tmp_path, monkeypatch):
    counts = []
    for names in (["wide"], list(SAES)):
        calls = {"activations": 0, "logits": 0}
        for what in calls:
            method = getattr(LanguageModel, what)

            def counted(*args, what=what, method=method, calls=calls, **kwargs):
                calls[what] += 1
                return method(*args, **kwargs)

            monkeypatch.setattr(LanguageModel, what, counted)
        configs = {name: config_of(make_config, place, name) for name in names}
        trained(configs["wide"], configs, tmp_path / str(len(names)))
        counts.append(calls)
        monkeypatch.undo()
    one, four = counts
    # The whitening is estimated on the batches once more; nothing else asks the model again.
    assert one["activations"] < four["activations"] <= 2 * one["activations"]
    # An evaluated batch: a clean pass and an ablated one for all, and one for each SAE.
    assert four["logits"] == one["logits"] // 2 * (1 + len(SAES))


def test_a_failure_says_which_sae_it_is_of(make_config, place, tmp_path):
    configs = {name: config_of(make_config, place, name) for name in ("wide", "noisy")}
    configs["noisy"].lr, configs["noisy"].lr_warm_up_steps = 1e30, 0
    with pytest.raises(WorkerError, match=r"^SAE noisy: training step") as caught:
        trained(configs["wide"], configs, tmp_path)
    assert caught.value.code == "NOT_FINITE" and caught.value.details["sae"] == "noisy"
