"""SAELens trains, leaves a checkpoint and goes on; from there ours goes on alike: each loss, and the weights."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyworker.errors import WorkerError
from pyworker.saes import create_sae, seeded_generator
from pyworker.train import SAETrainer
from pyworker.train.sae_lens_state import read_sae_lens_state
from pyworker.train.training_state import part_of

JUDGE = os.environ.get("SAE_LENS_TS_JUDGE_PYTHON")
pytestmark = pytest.mark.skipif(
    JUDGE is None, reason="SAE_LENS_TS_JUDGE_PYTHON names no Python with SAELens 6.54.12"
)

N_BATCHES, AT, BATCH = 40, 21, 64
TRAINER = {"lr": 1e-2, "lr_end": 1e-3, "dead_feature_window": 3, "feature_sampling_window": 15}
SCHEDULES = {
    "lr_warm_up_steps": 25,
    "lr_decay_steps": 5,
    "lr_scheduler_name": "cosineannealing",
    "adam_beta1": 0.5,
}
SCALED = {"normalize_activations": "expected_average_only_in"}
CASES = {
    "standard": ("standard", {"l1_coefficient": 0.3, "l1_warm_up_steps": 30, **SCALED}, SCHEDULES),
    "gated": ("gated", {"l1_coefficient": 0.3}, {}),
    "jumprelu": ("jumprelu", {"l0_coefficient": 0.3, "l0_warm_up_steps": 30}, {}),
    "topk": ("topk", {"k": 2, "normalize_activations": "covariance_whitening"}, {}),
    "batchtopk": ("batchtopk", {"k": 2, **SCALED}, {}),
    "matryoshka_batchtopk": ("matryoshka_batchtopk", {"k": 2, "matryoshka_widths": [8, 32]}, {}),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> tuple[torch.Tensor, Path]:
    folder = tmp_path_factory.mktemp("resume")
    generator = seeded_generator(3)
    mixed = torch.randn(8, 8, generator=generator)
    batches = torch.randn(N_BATCHES, BATCH, 8, generator=generator).relu() @ mixed + 0.3
    save_file({"batches": batches}, folder / "batches.safetensors")
    cases = {
        name: {"architecture": architecture, "options": options, "trainer": {**TRAINER, **trainer}}
        for name, (architecture, options, trainer) in CASES.items()
    }
    (folder / "cases.json").write_text(json.dumps(cases))
    script = Path(__file__).with_name("judge_training.py")
    command = [JUDGE, script, folder / "batches.safetensors", folder / "cases.json", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return batches, folder


def config_of(make_config, name: str):
    architecture, options, trainer = CASES[name]
    run = {"training_tokens": N_BATCHES * BATCH, "train_batch_size_tokens": BATCH, **TRAINER, **trainer}
    return make_config(architecture, run, **options)


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_saelens_that_goes_on(make_config, judged, name):
    batches, folder = judged
    config, checkpoint = config_of(make_config, name), folder / name / str(AT * BATCH)
    state = read_sae_lens_state(checkpoint, {None: config})
    assert state is not None and state["n_training_steps"] == AT
    assert state["stream.n_chunks"] == AT * BATCH // (config.store_batch_size_prompts * config.context_size)
    trainer = SAETrainer(
        create_sae(config.sae, seeded_generator(config.seed)), config, SimpleNamespace(), SimpleNamespace()
    )
    trainer.restore({**trainer.state(), **part_of(state, "trainer")})
    rest = load_file(folder / name / "rest.safetensors")
    losses = []
    for batch_BD in batches[AT:]:
        if trainer._window_is_full():  # as the loop does before each step
            trainer.firing.start_window()
        losses.append(float(trainer.train_step(batch_BD)[1].loss.detach()))
        trainer.n_training_steps += 1
    torch.testing.assert_close(
        torch.tensor(losses, dtype=torch.float64), rest.pop("losses")[AT:], rtol=1e-4, atol=1e-6
    )
    ours = trainer.sae.state_dict()
    assert ours.keys() == rest.keys()
    for key, theirs in rest.items():
        torch.testing.assert_close(ours[key], theirs, rtol=1e-3, atol=2e-5)


class Code:
    """What a pickle would run."""

    def __reduce__(self):
        return os.mkdir, (str(Code.mark),)


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda at: torch.save({"optimizer": Code()}, at / "trainer_state.pt"), "PICKLE_REFUSED", "reading"),
        (lambda at: (at / "trainer_state.pt").write_bytes(b"PK"), "PICKLE_REFUSED", "reading"),
        (
            lambda at: torch.save({"optimizer": {}}, at / "trainer_state.pt"),
            "SAE_INVALID",
            "not as SAELens 6",
        ),
        (
            lambda at: (at / "activation_scaler.json").write_text('{"scaling_factor": null}'),
            "SAE_INVALID",
            "folded into the weights",
        ),
        (lambda at: (at / "sae_weights.safetensors").unlink(), "SAE_INVALID", "sae_weights"),
    ],
)
def test_what_could_run_code_or_is_not_whole_is_refused(make_config, judged, tmp_path, damage, code, said):
    Code.mark = tmp_path / "ran"
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for file in (judged[1] / "standard" / str(AT * BATCH)).iterdir():
        (checkpoint / file.name).write_bytes(file.read_bytes())
    damage(checkpoint)
    with pytest.raises(WorkerError, match=said) as caught:
        read_sae_lens_state(checkpoint, {None: config_of(make_config, "standard")})
    assert caught.value.code == code
    assert not Code.mark.exists()
