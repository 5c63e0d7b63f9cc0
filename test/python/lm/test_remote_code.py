"""Code that comes with a model is run when it was asked for by name, and that is said; else the model is refused."""

import json
from pathlib import Path

import pytest
from tiny_models import save_tiny_model

from pyworker.errors import WorkerError
from pyworker.lm.load import LanguageModelConfig, load_language_model

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({marker!r}).write_text("code ran")


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """A model whose configuration names classes in a file beside it."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = save_tiny_model(tmp_path / "model")
    (folder / "own.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    config |= {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path, class_name: str = "AutoModelForCausalLM", **kwargs):
    return load_language_model(
        LanguageModelConfig(
            model_name=str(folder),
            model_class_name=class_name,
            hook_name="model.layers.0",
            model_from_pretrained_kwargs=kwargs,
        )
    )


@pytest.mark.parametrize("class_name", ["AutoModelForCausalLM", "HookedTransformer"])
def test_code_that_nobody_asked_for_is_not_run(model, class_name):
    with pytest.raises(WorkerError) as caught:
        load(model, class_name)
    assert caught.value.code in ("MODEL_LOAD_FAILED", "MODEL_NOT_FOUND")
    assert not (model.parent / "ran").exists()


def test_code_that_was_asked_for_is_run_and_that_is_said(model, caplog):
    load(model, trust_remote_code=True)
    assert (model.parent / "ran").exists()
    assert "the code that comes with model" in caplog.text
