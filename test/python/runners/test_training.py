"""Operation ``train`` as a whole, on a tiny model: what it says while it works, and what it refuses at once."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from pyworker.errors import WorkerError
from pyworker.files import write_files
from pyworker.lm.load import LanguageModelConfig
from pyworker.runners import models
from pyworker.runners.training import _state_in, check_devices, train
from pyworker.train.training_state import state_files

sys.path.insert(0, str(Path(__file__).parents[1] / "lm"))
from tiny_models import save_tiny_model


class Session:
    """Keeps what a run says; asks for a stop at the first stage ``stop_in`` names."""

    def __init__(self, stop_in: str | None = None):
        self.stages: list[tuple] = []
        self.events: list[str] = []
        self.lines: list[str] = []
        self.stop_in = stop_in

    def stage(self, stage, message="", done=None, total=None):
        self.stages.append((stage, done, total))

    def event(self, kind, /, **data):
        self.events.append(kind)

    def log(self, level, message):
        self.lines.append(message)

    def metrics(self, name, row): ...

    def tap_wanted(self):
        return False

    def stop_requested(self):
        return any(stage == self.stop_in for stage, *_ in self.stages)

    def checkpoint_requested(self):
        return False


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("tiny"))
    lines = (
        json.dumps({"text": " ".join(f"w{3 + (7 * i + j) % 61}" for j in range(40))}) for i in range(200)
    )
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return folder


def config(make_config, place: Path, **run):
    options = {
        "model_name": str(place),
        "model_class_name": "AutoModelForCausalLM",
        "hook_name": "model.layers.1",
        "dataset_path": str(place / "texts.jsonl"),
        "streaming": False,
        "on_data_end": "repeat",
        "n_batches_in_buffer": 4,
        "store_batch_size_prompts": 4,
        "n_eval_batches": 3,
        **run,
    }
    return make_config("topk", options, d_in=32, normalize_activations="expected_average_only_in")


def run(config, folder: Path, session: Session) -> dict:
    places = {
        "checkpoints": str(folder / "checkpoints"),
        "output": None,
        "staging_suffix": "tmp",
        "rescue": None,
        "kernel_timings": str(folder / "kernels.json"),
    }
    names = ("model_name", "dataset_path", "from_pretrained_path")
    recorded = {name: getattr(config, name) for name in names}
    params = {
        "config": msgspec.to_builtins(config),
        "places": places,
        "recorded": recorded,
        "fed": False,
        "resume": None,
        "saes": None,
    }
    return train(params, session)


def test_no_long_stage_is_silent(make_config, place, tmp_path):
    session = Session()
    run(config(make_config, place), tmp_path, session)
    told = {stage: [part for name, *part in session.stages if name == stage] for stage, *_ in session.stages}
    assert told["fill_buffer"][:4] == [[64 * n, 256] for n in range(1, 5)]
    assert told["estimate_scale"][0] == [0, 4] and told["estimate_scale"][-1] == [3, 4]
    assert told["train"][0] == [0, 10] and told["train"][-1] == [9, 10]
    assert len(told["train"]) > 10, "refills and evaluations between steps are signs of life too"
    assert told["evaluate"][1:] == [[0, 3], [1, 3], [2, 3]]


def test_a_stop_in_the_estimate_ends_the_run_and_keeps_nothing(make_config, place, tmp_path):
    session = Session(stop_in="estimate_scale")
    result = run(config(make_config, place), tmp_path, session)
    assert (result["ended"], result["n_training_steps"]) == ("stopped", 0)
    assert "checkpoint" not in session.events
    assert not any(stage == "train" for stage, *_ in session.stages)


@pytest.mark.parametrize("name", ["device", "llm_device", "act_store_device", "sae.device"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_loaded(make_config, name):
    bad = {name: "cuda:99"}
    config = make_config(**{"device": "cuda:99"}) if name == "sae.device" else make_config("standard", bad)
    with pytest.raises(WorkerError, match=f"{name} is cuda:99") as caught:
        check_devices(config)
    assert caught.value.code == "DEVICE_UNAVAILABLE"


def test_measured_kernels_are_timed_once(make_config, place, tmp_path):
    for whence in ("measured now", "measured before"):
        one, session = config(make_config, place), Session()
        one.sae.kernels = "measured"
        run(one, tmp_path, session)
        assert whence in next(text for text in session.lines if text.startswith("kernels of topk"))


LENS = {"model_class_name": "HookedTransformer", "hook_name": "blocks.1.hook_resid_post"}
BEFORE = {
    "a bridge": {**LENS, "hook_name": "blocks.1.hook_resid_mid"},
    "another hook": {**LENS, "hook_name": "blocks.0.hook_resid_pre"},
    "other threads": {**LENS, "n_threads": 3, "seed": 7},
    "the other class": {},
}


def trained_weights(config, folder: Path) -> dict[str, torch.Tensor]:
    """The finished SAE's parameters. ``output`` is written beside its place, for TypeScript to move."""
    places = {
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "out"),
        "staging_suffix": "t",
        "rescue": None,
        "kernel_timings": str(folder / "kernels.json"),
    }
    names = ("model_name", "dataset_path", "from_pretrained_path")
    recorded = {name: getattr(config, name) for name in names}
    train(
        {
            "config": msgspec.to_builtins(config),
            "places": places,
            "recorded": recorded,
            "fed": False,
            "resume": None,
            "saes": None,
        },
        Session(),
    )
    return load_file(folder / "out.t" / "sae_weights.safetensors")


@pytest.mark.parametrize("before", BEFORE)
def test_a_worker_that_was_lent_before_trains_the_same_bits_as_a_new_one(
    make_config, place, tmp_path, before
):
    models._held = None
    alone = trained_weights(config(make_config, place, **LENS), tmp_path / "alone")
    models._held = None
    trained_weights(config(make_config, place, **BEFORE[before]), tmp_path / "before")
    after = trained_weights(config(make_config, place, **LENS), tmp_path / "after")
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_a_model_that_listed_its_hooks_is_loaded_again_only_for_values_the_bridge_changed(place):
    cfg = LanguageModelConfig(model_name=str(place), hook_name="blocks.1.hook_resid_mid")
    models._held = None
    held = models.language_model(cfg, Session())
    models.list_hooks({"model_name": str(place)}, Session())
    assert models.language_model(cfg, Session()) is held
    plain = models.language_model(replace(cfg, hook_name="blocks.1.hook_resid_pre"), Session())
    assert plain is not held
    assert models.language_model(replace(cfg, hook_name="blocks.0.hook_resid_post"), Session()) is plain


def test_a_file_of_saelens_in_a_checkpoint_of_ours_changes_nothing(make_config, tmp_path):
    state = {"n_training_steps": 3, "trainer.x": torch.ones(2)}
    write_files(state_files(state), tmp_path)
    for place in (tmp_path, tmp_path / "copy"):
        place.mkdir(exist_ok=True)
        (place / "trainer_state.pt").write_bytes(b"of another training")
    found = _state_in(tmp_path, {None: make_config()})
    assert found.keys() == state.keys() and torch.equal(found["trainer.x"], state["trainer.x"])
