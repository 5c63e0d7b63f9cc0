"""Run by the Python of SAELens: every field of its configurations with its default, of which a page is made.

``judge_fields.py`` alone prints them, to record them anew in ``src/config/generate/saelens-fields.json``.
"""

import dataclasses
import json

import sae_lens
from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY

RUNNERS = [
    sae_lens.LanguageModelSAERunnerConfig,
    sae_lens.LoggingConfig,
    sae_lens.CacheActivationsRunnerConfig,
    sae_lens.PretokenizeRunnerConfig,
]


def default(field: dataclasses.Field) -> object:
    """What JSON can hold of a default: "required" where there is none, "a group" where it has fields itself."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is dataclasses.MISSING:
        return "required"
    made = field.default_factory()
    return "a group" if dataclasses.is_dataclass(made) or field.name == "metadata" else made


def defaults(config: type) -> dict[str, object]:
    return {field.name: default(field) for field in dataclasses.fields(config)}


def all_fields() -> dict[str, dict[str, object]]:
    found = {config.__name__: defaults(config) for config in RUNNERS}
    # That of a machine without a GPU.
    found["CacheActivationsRunnerConfig"]["device"] = "cpu"
    saes = {name: defaults(config) for name, (_, config) in SAE_TRAINING_CLASS_REGISTRY.items()}
    return {**found, "TrainingSAEConfig": saes}


if __name__ == "__main__":
    print(json.dumps(all_fields(), indent=2))
