"""Datasets of this machine: what is in a place, and what may be chosen of it. Nothing is opened."""

import difflib
import os
from itertools import islice
from pathlib import Path

from pyworker.errors import WorkerError

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".txt": "text",
    ".text": "text",
    ".arrow": "arrow",
}
COMPRESSIONS = {".gz", ".zst", ".bz2", ".xz"}
MOST_ENTRIES = 100_000
"""Of a folder and those below it. A home folder has more, and listing it would take minutes."""
ARCHIVES = {".zip", ".tar"}


def without_compression(file: Path) -> str:
    """The ending that tells the format of a file: ``.jsonl`` of ``a.jsonl.gz``."""
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes else ""


def require_data_files(place: Path, data_files: str | list[str] | None, data_dir: str | None) -> None:
    """A folder whose files are read must be one, and hold some.

    Raises:
        WorkerError: ``DATASET_INVALID`` when it is none or too large, ``DATASET_NOT_FOUND`` when it holds no data;
            ``CONFIG_INVALID`` when ``data_files`` or ``data_dir`` lead out of it.
    """
    if not place.is_dir():
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {str(place)!r} is neither a file nor a folder",
            hint="name a file, a folder of files, or a dataset of the hub",
        )
    asked = [data_files] if isinstance(data_files, str) else data_files or []
    for option, part in [*(("data_files", part) for part in asked), ("data_dir", data_dir or ".")]:
        inside = Path(os.path.normpath(place / part)).is_relative_to(os.path.normpath(place))
        if not inside or "://" in part:
            raise WorkerError(
                "CONFIG_INVALID",
                f"{option} is {part!r}, which leads out of the dataset folder {str(place)!r}",
                hint=f"name what lies in the folder, or make dataset_path the folder above and leave {option} below it",
            )
    if data_files is not None:
        return
    folder = place / (data_dir or ".")
    files = (Path(name) for _, _, names in os.walk(folder) for name in names or [""])
    n_seen = 0
    for n_seen, file in enumerate(islice(files, MOST_ENTRIES), start=1):  # noqa: B007
        if without_compression(file) in FORMATS.keys() | ARCHIVES:
            break
    else:
        more = n_seen == MOST_ENTRIES
        raise WorkerError(
            "DATASET_NOT_FOUND",
            f"folder {str(folder)!r} is no dataset: {'the first ' if more else ''}{n_seen} entries hold no file "
            f"that ends in {', '.join(FORMATS)}",
            hint="name the folder that holds the data, or one file",
        )
    if sum(1 for _ in islice(files, MOST_ENTRIES - n_seen)) == MOST_ENTRIES - n_seen:
        raise WorkerError(
            "DATASET_INVALID",
            f"folder {str(folder)!r} holds more than {MOST_ENTRIES} files and folders, too many for a dataset",
            hint="name the folder that holds the data, or choose of it: data_dir, data_files",
        )


def refuse_other_split(path: str, split: str) -> None:
    """One file is one split.

    Raises:
        WorkerError: ``DATASET_INVALID``.
    """
    wanted = split.split("[", maxsplit=1)[0]
    if wanted != "train":
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {path!r} is one file, which has the split 'train' and not {wanted!r}",
            hint="leave the split out (dataset_split, eval_dataset_split), or name the file of that split",
        )


def refuse_choices(
    why: str, name: str | None, data_files: str | list[str] | None, data_dir: str | None
) -> None:
    """Parts that nothing looks for must not be asked for."""
    for option, value, parts in (
        ("dataset_name", name, "configurations"),
        ("data_files", data_files, "files to choose from"),
        ("data_dir", data_dir, "folders to choose from"),
    ):
        if value is not None:
            raise WorkerError(
                "CONFIG_INVALID",
                f"{option} is {value!r}, but {why}, which has no {parts}",
                hint=f"leave {option} out; dataset_split chooses a split, dataset_column a column",
            )


def refuse_missing_path(path: str, local: Path) -> None:
    """A name that can only be a path must not go to the hub, where it would fail later and less clearly."""
    looks_local = path == "" or path[0] in "./~" or path.count("/") > 1 or local.suffix.lower() in FORMATS
    if looks_local:
        raise WorkerError(
            "DATASET_NOT_FOUND",
            f"dataset {path!r} does not exist",
            hint=nearest_path(local) or "check dataset_path: nothing there has a similar name",
        )


def nearest_path(local: Path) -> str | None:
    """A hint that names what lies beside a missing path under a similar name."""
    folder = local.parent
    while not folder.is_dir() and folder != folder.parent:
        local, folder = folder, folder.parent
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return None
    close = difflib.get_close_matches(local.name, names, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(str(folder / name) for name in close)}?" if close else None
