"""Where a dataset lies while it is tokenized: ``<save_path>.partial``.

Sequences come in pieces; ``progress.json`` says which pieces count and where reading goes on. A piece is put down
before the progress that names it, so that a kill at any instant leaves a state to continue from. How the
sequences are divided into pieces has no influence on the dataset that they become.

Shapes: S sequences, C context.
"""

import fcntl
import json
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from pyworker.data.storage import new_file, storage_failures_named, sync_folder
from pyworker.errors import WorkerError

FORMAT = 1
PROGRESS, RECORD, LOCK, FINISHED = "progress.json", "pretokenize.json", "lock", "dataset"
OURS = re.compile(r"(progress\.json|piece-\d{6}\.npy)(\.tmp)?|lock|dataset")
FINGERPRINT = "dataset_fingerprint"
SEED_BITS = 32


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """How far it is. Everything needed to go on as if nothing had happened."""

    format: int
    made_from: dict[str, Any]
    """What decides the result: options, the dataset's fingerprint, the vocabulary."""
    seed: int | None
    n_documents: int = 0
    n_tokens: int = 0
    n_short_documents: int = 0
    pieces: list[int] = []
    """Sequences in each piece."""
    carry: list[int] = []
    carry_separators: list[int] = []
    all_read: bool = False

    @property
    def n_sequences(self) -> int:
        """Sequences in all pieces."""
        return sum(self.pieces)


class Staging:
    """The folder of one work, held by one process.

    Args:
        save_path: where the dataset is to lie.
        made_from: what decides the result.
        seed: of the shuffle; None draws one.
        shuffle: whether a seed is needed at all.

    Raises:
        WorkerError: ``STORAGE`` when the place cannot be written, holds what is not ours, or another process
            writes there; ``CONFIG_INVALID`` when it holds the same work with other options.
    """

    def __init__(self, save_path: Path, made_from: dict[str, Any], seed: int | None, shuffle: bool):
        self.save_path = save_path
        self.folder = save_path.with_name(f"{save_path.name}.partial")
        self.finished = self.folder / FINISHED
        _require_free(save_path)
        with storage_failures_named(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            foreign = [entry.name for entry in self.folder.iterdir() if not OURS.fullmatch(entry.name)]
        if foreign:
            raise WorkerError(
                "STORAGE",
                f"{str(self.folder)!r}, where unfinished work goes, holds {', '.join(sorted(foreign)[:3])}",
                hint="move that away, or choose another save_path",
            )
        self._lock = _locked(self.folder)
        try:
            self.progress = self._progress(made_from, seed, shuffle)
        except BaseException:
            self._lock.close()
            raise

    def add_piece(self, rows_SC: np.ndarray) -> None:
        """Put sequences down; they count from :meth:`save` on."""
        path = self._piece(len(self.progress.pieces))
        with new_file(path) as file:
            # As np.save, which does not tell why it failed.
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows_SC))
            file.write(np.ascontiguousarray(rows_SC).data)
        self.progress.pieces.append(len(rows_SC))

    def save(self) -> None:
        """Write down how far it is."""
        with new_file(self.folder / PROGRESS) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.progress), indent=1))

    def pieces(self) -> list[np.ndarray]:
        """The sequences, int32 SC each, read from the disk as they are asked for.

        Raises:
            WorkerError: ``STORAGE`` when a piece is not what was written.
        """
        found = []
        for number, n_rows in enumerate(self.progress.pieces):
            path = self._piece(number)
            try:
                rows_SC = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as cause:
                raise self._damaged(path, str(cause)) from cause
            if len(rows_SC) != n_rows:
                raise self._damaged(path, f"it has {len(rows_SC)} sequences instead of {n_rows}")
            found.append(rows_SC)
        return found

    def publish(self) -> None:
        """Put the finished dataset in its place and clear up. Nothing but our own files is removed."""
        with storage_failures_named(self.save_path):
            self.finished.rename(self.save_path)  # an empty folder gives way, anything else does not
            sync_folder(self.save_path.parent)
        self._clear()

    def close(self) -> None:
        """Let go of the folder; work that has begun stays."""
        if not self.progress.n_documents:
            self._clear()
        self._lock.close()

    def _clear(self) -> None:
        """Remove our own files, and the folder where nothing else is in it."""
        with suppress(OSError):
            for entry in self.folder.iterdir():
                if OURS.fullmatch(entry.name) and not entry.is_dir():
                    entry.unlink()
            self.folder.rmdir()

    def _piece(self, number: int) -> Path:
        return self.folder / f"piece-{number:06d}.npy"

    def _damaged(self, path: Path, why: str) -> WorkerError:
        return WorkerError(
            "STORAGE",
            f"piece {str(path)!r} is damaged: {why}",
            hint=f"remove {str(self.folder)!r} and run the same command again: it starts over",
        )

    def _progress(self, made_from: dict[str, Any], seed: int | None, shuffle: bool) -> Progress:
        earlier = self._read_progress()
        if earlier is not None:
            refuse_difference(earlier.made_from, made_from, f"{str(self.folder)!r} holds unfinished work")
            return earlier
        drawn = secrets.randbits(SEED_BITS) if shuffle and seed is None else seed
        return Progress(FORMAT, made_from, drawn if shuffle else None)

    def _read_progress(self) -> Progress | None:
        path = self.folder / PROGRESS
        try:
            progress = msgspec.json.decode(path.read_bytes(), type=Progress)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as cause:
            raise self._damaged(path, str(cause)) from cause
        if progress.format != FORMAT:
            raise self._damaged(path, f"its format is {progress.format}, this version reads {FORMAT}")
        return progress


def finished_record(save_path: Path) -> dict[str, Any] | None:
    """What ``pretokenize.json`` says of a dataset that is there already; None where there is none of ours.

    Raises:
        WorkerError: ``STORAGE`` when it cannot be read.
    """
    path = save_path / RECORD
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as cause:
        raise WorkerError(
            "STORAGE",
            f"{str(path)!r} cannot be read: {cause}",
            hint="make it readable, or choose another save_path",
        ) from cause


def refuse_difference(earlier: dict[str, Any], now: dict[str, Any], what: str) -> None:
    """Work is continued with the options it was begun with.

    Raises:
        WorkerError: ``CONFIG_INVALID`` naming every option that differs.
    """
    keys = {*earlier, *now} - {FINGERPRINT} | ({*earlier} & {*now})  # a streamed dataset has no fingerprint
    different = sorted(key for key in keys if earlier.get(key) != now.get(key))
    if not different:
        return
    lines = [f"{key} was {_shown(earlier.get(key))} and is {_shown(now.get(key))}" for key in different]
    raise WorkerError(
        "CONFIG_INVALID",
        f"{what} made with other options: {'; '.join(lines)}",
        hint="give the earlier options to continue it, choose another save_path, or remove that folder",
        details={
            "different": {key: {"was": earlier.get(key), "is": now.get(key)} for key in different},
        },
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _require_free(save_path: Path) -> None:
    with storage_failures_named(save_path):
        if not save_path.exists():
            return
        held = sorted(os.listdir(save_path)) if save_path.is_dir() else None
    if held == []:
        return
    problem = "is a file" if held is None else f"holds {', '.join(held[:3])}"
    raise WorkerError(
        "STORAGE",
        f"the dataset cannot be written to {str(save_path)!r}, which {problem}",
        hint="choose a new folder, or an empty one: save_path",
    )


def _locked(folder: Path) -> BinaryIO:
    """The lock ends with the process, however that ends."""
    path = folder / LOCK
    with storage_failures_named(path):
        file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        file.seek(0)
        holder = file.read().decode(errors="replace").strip() or "another process"
        file.close()
        raise WorkerError(
            "STORAGE",
            f"{str(folder)!r} is being written by {holder}",
            hint="wait for it or stop it, or choose another save_path",
        ) from cause
    file.truncate(0)
    file.write(f"process {os.getpid()}".encode())
    file.flush()
    return file
