"""Writes ``src/artifacts/releases.json`` from SAELens' directory of published SAEs: names, repositories and paths.

    python test/golden/releases.py

in the judge's environment (test/requirements-judge.txt). Only releases in a format with a reader are taken. Ids that
differ in numbers become one entry with the numbers beside it, ``{"id": "blocks.{layer}.hook_resid_pre", "every":
{"layer": "0-11"}}``: all combinations of ``every``, or one SAE for each place in the lists of ``each``.
"""

import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from sae_lens.loading.pretrained_sae_loaders import get_gemma_2_config_from_hf
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

TARGET = Path(__file__).parents[2] / "src" / "artifacts" / "releases.json"
SEPARATORS = (",", ":")
READ = (None, "gemma_2", "gemma_3", "llama_scope", "dictionary_learning_1")
NUMBER = re.compile(r"\d+")
PLACES = {"resid_post": "hook_resid_post", "attn_out": "attn.hook_z", "mlp_out": "hook_mlp_out"}


def hook_name(kind: str | None, repo: str, path: str) -> str | None:
    """Of the formats that do not say it themselves."""
    if kind == "gemma_2":
        return get_gemma_2_config_from_hf(repo, path, "cpu")["hook_name"]
    if kind == "gemma_3":
        layer = re.search(r"layer_(\d+)", path)
        place = next(place for name, place in PLACES.items() if name in path)
        assert layer is not None
        return f"blocks.{layer[1]}.{place}"
    return None


def column_name(before: str, taken: set[str]) -> str:
    """What a number is, by the word before it."""
    words = {"layer_": "layer", "blocks.": "layer", "l0_": "l0", "trainer_": "trainer", "width_": "width"}
    name = next((name for end, name in words.items() if before.endswith(end)), "n")
    while name in taken:
        name += "_"
    return name


def as_range(values: list[Any]) -> Any:
    """``"0-11"`` for numbers that follow each other."""
    numbers = [int(value) for value in values]
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"{numbers[0]}-{numbers[-1]}"
    return numbers


def pack(saes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of one shape together. ``saes``: id, path, and what else is known of each."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for sae in saes:
        texts = [sae[key] for key in ("id", "path", "hook_name") if key in sae]
        groups[tuple(NUMBER.sub("{}", text) for text in texts)].append(sae)
    packed = []
    for found in groups.values():
        group = sorted(found, key=lambda sae: [int(number) for number in NUMBER.findall(sae["id"])])
        keys = [key for key in ("id", "path", "hook_name") if key in group[0]]
        columns: dict[str, list[str]] = {}
        entry: dict[str, Any] = {}
        for key in keys:
            numbers = [[m.group() for m in NUMBER.finditer(sae[key])] for sae in group]
            starts = [m.start() for m in NUMBER.finditer(group[0][key])]
            pieces = NUMBER.split(group[0][key])
            text = pieces[0]
            for i, after in enumerate(pieces[1:]):
                values = [row[i] for row in numbers]
                same = next((name for name, column in columns.items() if column == values), None)
                if len(set(values)) == 1:
                    text += values[0]
                elif same is not None:
                    text += f"{{{same}}}"
                else:
                    name = column_name(group[0][key][: starts[i]], set(columns))
                    columns[name] = values
                    text += f"{{{name}}}"
                text += after
            entry[key] = text
        factors = [sae.get("norm_scaling_factor") for sae in group]
        if any(factor is not None for factor in factors):
            entry["norm_scaling_factor"] = factors if len(factors) > 1 else factors[0]
        if entry["path"] == entry["id"]:
            del entry["path"]
        if columns:
            distinct = {name: sorted(set(map(int, values))) for name, values in columns.items()}
            is_product = math.prod(map(len, distinct.values())) == len(group)
            if is_product and "norm_scaling_factor" not in entry:
                entry["every"] = {name: as_range(values) for name, values in distinct.items()}
            else:
                entry["each"] = {name: as_range(values) for name, values in columns.items()}
        packed.append(entry)
    return packed


def main() -> None:
    releases = {}
    for name, release in sorted(get_pretrained_saes_directory().items()):
        kind = release.conversion_func
        if kind not in READ or "transcoder" in name:
            continue
        saes = []
        for sae_id, path in release.saes_map.items():
            sae = {"id": sae_id, "path": path}
            hook = hook_name(kind, release.repo_id, path)
            factor = release.norm_scaling_factor.get(sae_id) if release.norm_scaling_factor else None
            # Llama Scope says it in its own files.
            if factor is not None and kind is None:
                sae["norm_scaling_factor"] = factor
            saes.append({**sae, **({"hook_name": hook} if hook else {})})
        releases[name] = {
            "repo_id": release.repo_id,
            "model": release.model,
            **({"conversion_func": kind} if kind else {}),
            **({"config_overrides": release.config_overrides} if release.config_overrides else {}),
            "saes": pack(saes),
        }
    lines = [
        f"  {json.dumps(name)}: {json.dumps(release, separators=SEPARATORS)}"
        for name, release in releases.items()
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(releases)} releases, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
