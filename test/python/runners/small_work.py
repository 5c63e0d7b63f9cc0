"""A small pretokenizing work: its configuration, a session that listens, and a program that is killed."""

from pathlib import Path
from typing import Any

from pyworker.runners.pretokenize import pretokenize

OPTIONS: dict[str, Any] = {
    "tokenizer_name": "", "dataset_path": "", "dataset_name": None, "dataset_trust_remote_code": False,
    "split": "train", "data_files": None, "data_dir": None, "column_name": "text",
    "use_chat_formatting": False, "streaming": False, "shuffle": True, "seed": 42, "context_size": 16,
    "begin_batch_token": "bos", "begin_sequence_token": None, "sequence_separator_token": "eos",
    "disable_concat_sequences": False, "pretokenize_batch_size": 20, "num_proc": 1, "save_path": "",
    "hf_repo_id": None, "hf_num_shards": None, "hf_revision": "main", "hf_is_private_repo": False,
}  # fmt: skip


class Listener:
    """What the worker gives a handler; stops the work after so many ``progress`` events."""

    def __init__(self, stop_after: int | None = None):
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.stages: list[str] = []
        self._left = stop_after

    def stage(self, stage: str, message: str = "", done: int | None = None, total: int | None = None) -> None:
        self.stages.append(stage)

    def event(self, kind: str, /, **data: Any) -> None:
        self.events.append((kind, data))
        if kind == "progress" and self._left is not None:
            self._left -= 1

    def log(self, level: str, message: str) -> None:
        self.events.append(("log", {"level": level, "message": message}))

    def stop_requested(self) -> bool:
        return self._left is not None and self._left <= 0


def run(session: Any = None, **changes: Any) -> dict[str, Any]:
    """The result of the work that ``changes`` ask for."""
    config = {**OPTIONS, **changes}
    assert config.keys() == OPTIONS.keys(), "no such option"
    return pretokenize({"config": config, "recorded": {}}, session or Listener())


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
