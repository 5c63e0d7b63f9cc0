"""Where texts and token ids come from: local files and folders, folders of ``save_to_disk``, hub datasets.

The only module that knows the ``datasets`` library. All else sees a :class:`Source`: one column, row by row.
"""

import inspect
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import datasets
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from pyworker.data.broken_line import broken_line
from pyworker.data.local_dataset import (
    FORMATS,
    nearest_path,
    refuse_choices,
    refuse_missing_path,
    refuse_other_split,
    require_data_files,
    without_compression,
)
from pyworker.data.row_kind import Kind, checked_row, kind_of, shown
from pyworker.errors import WorkerError

log = logging.getLogger(__name__)
datasets.disable_progress_bars()  # the worker's stderr is a log, not a terminal

TOKEN_COLUMNS = ("tokens", "input_ids")
TEXT_COLUMNS = ("text", "problem")
CHAT_COLUMNS = ("conversation", "conversations", "messages", "text")
ROWS_PER_READ = 256
AS_MADE = "make the dataset anew, or remove this file: the tokenizer is then not checked"


@dataclass(frozen=True)
class Source:
    """One column of a dataset, readable from its start any number of times, always in the same order.

    Attributes:
        name: what to call it in messages.
        column: the column read.
        kind: what its rows are: lists of token ids, texts, or conversations.
        n_rows: rows of the split, where it is known without reading it.
        pretokenized: contents of ``sae_lens.json``, as SAELens' pretokenizer writes it; None without one.
    """

    name: str
    column: str
    kind: Kind
    n_rows: int | None
    pretokenized: dict[str, Any] | None
    _rows: "datasets.Dataset | datasets.IterableDataset"

    @property
    def fingerprint(self) -> str | None:
        """What the library knows the data by: of files on this machine it changes with their content."""
        return getattr(self._rows, "_fingerprint", None)

    def batches(self, n_rows: int = ROWS_PER_READ, start: int = 0) -> Iterator[list[Any]]:
        """The column's values from row ``start`` on, up to ``n_rows`` at a time; token ids as int64 arrays.

        Raises:
            WorkerError: ``DATASET_INVALID``, naming the row that is not of the column's kind or the line that
                cannot be read; ``HUB``.
        """
        where, numbers = f"column {self.column!r} of dataset {self.name!r}", count(start + 1)
        with _failures_named(self.name, "read"):
            rows = self._rows.skip(start) if start else self._rows
            for batch in rows.iter(batch_size=n_rows):
                yield [checked_row(value, self.kind, next(numbers), where) for value in batch[self.column]]


def open_source(
    path: str,
    *,
    name: str | None = None,
    split: str = "train",
    column: str | None = None,
    streaming: bool = False,
    trust_remote_code: bool = False,
    is_tokenized: bool | None = None,
    chat: bool = False,
    data_files: str | list[str] | None = None,
    data_dir: str | None = None,
) -> Source:
    """Open a dataset and choose the column to train on.

    Args:
        path: a file (parquet, JSON lines, JSON, CSV, text, arrow; also compressed), a folder of such files,
            a folder written by ``save_to_disk``, or the name of a hub dataset.
        name: configuration of a hub dataset.
        split: a split, with a slice where the dataset is not streamed (``train[:1%]``). One file is one
            split, train.
        column: the column to read; None looks for the usual names.
        streaming: read while training instead of preparing the whole dataset first.
        trust_remote_code: passed on where the installed ``datasets`` still runs code of the hub.
        is_tokenized: True demands token ids, False text, None takes what is there.
        chat: the rows are conversations.
        data_files: the files of a folder or hub dataset to read, instead of all; they are one split, train.
        data_dir: the folder of them to read. Neither leads out of a local folder.

    Raises:
        WorkerError: ``DATASET_NOT_FOUND``, ``DATASET_INVALID`` or ``HUB``.
    """
    with _failures_named(path, f"opened with split {split!r}"), _emptiness_named(path):
        rows = _load(
            path, name, split, streaming, trust_remote_code, data_files=data_files, data_dir=data_dir
        )
        head = islice(rows, ROWS_PER_READ)
        chosen, kind = _choose_column(next(head), head, path, column, is_tokenized, chat)
    return Source(
        name=path,
        column=chosen,
        kind=kind,
        n_rows=_known_length(rows, split),
        pretokenized=_pretokenized(path, Path(path).expanduser()) if kind == "tokens" else None,
        _rows=rows.select_columns([chosen]),
    )


def open_rows(path: str, *, name: str | None, split: str, streaming: bool) -> Any:
    """All columns of a dataset, to look at; arguments and errors are those of :func:`open_source`."""
    with _failures_named(path, f"opened with split {split!r}"), _emptiness_named(path):
        rows = _load(path, name, split, streaming, trust_remote_code=False)
        next(iter(rows))
    return rows


def _load(
    path: str,
    name: str | None,
    split: str,
    streaming: bool,
    trust_remote_code: bool,
    *,
    data_files: str | list[str] | None = None,
    data_dir: str | None = None,
) -> Any:
    local = Path(path).expanduser()
    options: dict[str, Any] = {"split": split, "streaming": streaming}
    if data_files is not None:
        options["data_files"] = data_files
    if data_dir is not None:
        options["data_dir"] = data_dir
    if trust_remote_code:
        if "trust_remote_code" in inspect.signature(datasets.load_dataset).parameters:
            options["trust_remote_code"] = trust_remote_code
        else:
            log.warning(
                "dataset_trust_remote_code: datasets %s runs no code of the hub", datasets.__version__
            )
    if local.is_file():
        refuse_choices(f"dataset {path!r} is one file", name, data_files, data_dir)
        refuse_other_split(path, split)
        options["data_files"] = str(local)
        return datasets.load_dataset(_format(local), **options)
    if (local / "dataset_dict.json").is_file() or (local / "state.json").is_file():
        refuse_choices(f"dataset {path!r} was written by save_to_disk", name, data_files, data_dir)
        return _load_saved(local, split)
    if local.exists():
        require_data_files(local, data_files, data_dir)
        return datasets.load_dataset(str(local), name, **options)
    refuse_missing_path(path, local)
    return datasets.load_dataset(path, name, **options)


@contextmanager
def _failures_named(path: str, action: str) -> Iterator[None]:
    """Failures of the library as errors with a code, the dataset and what to do."""
    try:
        yield
    except (WorkerError, MemoryError):
        raise
    except DatasetNotFoundError as cause:
        raise WorkerError(
            "DATASET_NOT_FOUND",
            f"dataset {path!r} was not found: {cause}",
            hint=nearest_path(Path(path)) or "check the name; a private or gated dataset needs HF_TOKEN",
        ) from cause
    except FileNotFoundError as cause:
        raise WorkerError(
            "DATASET_NOT_FOUND",
            f"dataset {path!r} holds no data files: {cause}",
            hint="name the folder or the file with the data",
        ) from cause
    except (ConnectionError, HfHubHTTPError) as cause:
        raise WorkerError(
            "HUB",
            f"dataset {path!r} could not be read from the hub: {cause}",
            hint="check the network, or name a local file or folder",
        ) from cause
    except Exception as cause:  # the readers of a dozen formats raise what they like
        line = broken_line(Path(path).expanduser())
        reason = cause.__cause__ if isinstance(cause, DatasetGenerationError) and cause.__cause__ else cause
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {path!r} could not be {action}: {line or reason}",
            hint="mend or drop this line" if line else "check its files, dataset_split and dataset_name",
        ) from cause


@contextmanager
def _emptiness_named(path: str) -> Iterator[None]:
    """What the library makes of files and tables without a row, in words."""
    try:
        yield
    except (StopIteration, IndexError, ValueError) as cause:
        if isinstance(cause, ValueError) and "corresponds to no data" not in str(cause):
            raise
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {path!r} has no rows",
            hint="look whether it was written to its end, and whether dataset_split leaves rows of it",
        ) from cause


def _format(file: Path) -> str:
    known = FORMATS.get(without_compression(file))
    if known is None:
        raise WorkerError(
            "DATASET_INVALID",
            f"the format of dataset {str(file)!r} is not known by its name",
            hint=f"accepted: {', '.join(FORMATS)}, plain or compressed",
        )
    return known


def _load_saved(folder: Path, split: str) -> "datasets.Dataset":
    saved = datasets.load_from_disk(str(folder))
    wanted, _, slicing = split.partition("[")
    if isinstance(saved, datasets.DatasetDict):
        if wanted not in saved:
            raise ValueError(f"there are the splits {', '.join(saved)}")
        saved = saved[wanted]
    if not slicing:
        return saved
    instruction = datasets.ReadInstruction.from_spec(f"saved[{slicing}")
    [bounds] = instruction.to_absolute({"saved": len(saved)})
    return saved.select(range(bounds.from_ or 0, len(saved) if bounds.to is None else bounds.to))


def _known_length(rows: "datasets.Dataset | datasets.IterableDataset", split: str) -> int | None:
    if isinstance(rows, datasets.Dataset):
        return len(rows)
    told = (rows.info.splits or {}).get(split)  # by the dataset's card, if at all
    return told.num_examples or None if told is not None else None


def _choose_column(
    first: dict[str, Any],
    following: Iterator[dict[str, Any]],
    path: str,
    column: str | None,
    is_tokenized: bool | None,
    chat: bool,
) -> tuple[str, Kind]:
    """By the names in the first row; what it holds, by the first row where it is not null."""
    if chat:
        accepted: tuple[str, ...] = CHAT_COLUMNS
    elif is_tokenized is None:
        accepted = TOKEN_COLUMNS + TEXT_COLUMNS
    else:
        accepted = TOKEN_COLUMNS if is_tokenized else TEXT_COLUMNS
    if column is not None:
        accepted = (column,)
    chosen = next((candidate for candidate in accepted if candidate in first), None)
    if chosen is None:
        raise WorkerError(
            "DATASET_INVALID",
            f"dataset {path!r} has the columns {', '.join(map(repr, first))}; none of them is accepted "
            f"({'dataset_column' if column is not None else 'looked for'}: {', '.join(map(repr, accepted))})",
            hint="name the column to read with dataset_column",
            details={"columns": list(first), "accepted": list(accepted)},
        )
    if chat:
        return chosen, "chat"
    values = (row.get(chosen) for row in chain((first,), following))
    value = next((value for value in values if value is not None), None)
    if value is None:
        kind: Kind | None = "tokens" if chosen in TOKEN_COLUMNS else "text"
    else:
        kind = kind_of(value)
    if kind is None:
        raise WorkerError(
            "DATASET_INVALID",
            f"column {chosen!r} of dataset {path!r} holds neither texts nor lists of token ids, "
            f"but {shown(value)}",
            hint=f"name another column with dataset_column; there are {', '.join(map(repr, first))}",
            details={"columns": list(first), "column": chosen},
        )
    if (is_tokenized is True and kind == "text") or (is_tokenized is False and kind == "tokens"):
        raise WorkerError(
            "DATASET_INVALID",
            f"column {chosen!r} of dataset {path!r} holds {'text' if kind == 'text' else 'token ids'}, "
            f"but is_dataset_tokenized is {is_tokenized}",
            hint="leave is_dataset_tokenized out to take what is there, or name another dataset_column",
        )
    return chosen, kind


def _pretokenized(path: str, local: Path) -> dict[str, Any] | None:
    """What the pretokenizer wrote beside the data, if this dataset came from one."""
    folder = local if local.is_dir() else local.parent
    file: str | Path = folder / "sae_lens.json"
    if not local.exists():
        try:
            file = hf_hub_download(path, "sae_lens.json", repo_type="dataset")
        except EntryNotFoundError:
            return None
        except (OSError, HfHubHTTPError) as cause:
            log.warning(
                "sae_lens.json of dataset %s could not be read, its tokenizer is not checked: %s", path, cause
            )
            return None
    try:
        made = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as cause:
        raise WorkerError("DATASET_INVALID", f"{str(file)!r} is no JSON: {cause}", hint=AS_MADE) from cause
    if not isinstance(made, dict):
        raise WorkerError(
            "DATASET_INVALID", f"{str(file)!r} is no JSON object, but {shown(made)}", hint=AS_MADE
        )
    return made
