"""Checkpoints, and what the run was for: written as files into a staging folder, of which TypeScript makes the rest."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from pyworker.errors import WorkerError
from pyworker.files import Files, size_of, write_files
from pyworker.memory import free_memory
from pyworker.runners.full_disk import is_full, until_there_is_room
from pyworker.train import CheckpointKind
from pyworker.train.training_state import State, copied, state_files, under

if TYPE_CHECKING:
    from pyworker.runners.training import TrainingRun

SKIPPED = "skipped_shards"
"""In the state of a run: names of the shards that its cache is read without."""
RESUMABLE = ("scheduled", "requested", "recurring")
"""Purposes of what a run can go on from."""
COPIES_OF_A_WEIGHT = 4
"""Itself as it is trained and as it is saved, and two moments; src/plan/memory.ts reckons with the same."""
SPARE_MEMORY = 2
"""A copy is made where so many times its size is free: another process may want some meanwhile."""


class CheckpointWriter:
    """Writes one thing at a time, checkpoints while training goes on.

    A checkpoint is a copy of all that training changes, made between two steps; a thread brings it to the disk. So the
    loop waits for a copy in memory and not for a disk. Where there is no room for the copy, or
    ``checkpoints_in_background`` is off, the state is written as it lies, and the loop waits.

    Args:
        run: whose SAEs, stream and places these are.
    """

    def __init__(self, run: TrainingRun):
        self.run, self.session, self.places = run, run.session, run.places
        self._thread: threading.Thread | None = None
        self._unforeseen: Exception | None = None
        self._written, self._rescue = -1, run.places.rescue

    def checkpoint(self, kind: CheckpointKind, n_training_samples: int) -> None:
        """One that cannot be written costs the checkpoint, not the run (faults S1); the last one must be kept."""
        if kind == "final":
            self.keep(kind, self._place(f"final_{n_training_samples}"), n_training_samples)
            return
        self.wait()
        began = time.monotonic()
        beside = self.run.config.checkpoints_in_background and self._has_room()
        files = self._files(kind, copy=beside)
        told = self._told(kind, self._place(n_training_samples), n_training_samples)
        waited = time.monotonic() - began

        def write() -> None:
            try:
                self._put(files, **told)
                self.session.log(
                    "debug",
                    f"checkpoint {n_training_samples}: {size_of(files) / 1e6:.0f} MB, "
                    f"{'copied' if beside else 'gathered'} in {waited:.3f} s, "
                    f"written in {time.monotonic() - began - waited:.3f} s",
                )
            except WorkerError as error:
                self.session.log("warning", f"{error.message}; training goes on without this checkpoint")
            except Exception as error:
                self._unforeseen = error

        if beside:
            self._thread = threading.Thread(target=write, name="checkpoint")
            self._thread.start()
        else:
            write()
            self.wait()

    def last_checkpoint(self, n_training_samples: int) -> None:
        """That of a run which is told to end; nothing, where the last one is of this step already.

        Raises:
            WorkerError: ``STORAGE``.
        """
        self.wait()
        if self._written != n_training_samples:
            files = self._files("requested", copy=False)
            self._put_or_rescue(
                files, **self._told("requested", self._place(n_training_samples), n_training_samples)
            )

    def keep(self, purpose: str, final: Path, n_training_samples: int) -> None:
        """What the run was for is written in its turn, and not given up while somebody may make room for it.

        Raises:
            WorkerError: ``STORAGE``.
        """
        self.wait()
        files = self._files(purpose, copy=False)
        told = self._told(purpose, final, n_training_samples)
        until_there_is_room(lambda: self._put_or_rescue(files, **told), final, self.session)

    def wait(self) -> None:
        """Until nothing is being written any more.

        Raises:
            Exception: what nobody had foreseen of the write.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        error, self._unforeseen = self._unforeseen, None
        if error is not None:
            raise error

    def _place(self, name: int | str) -> Path:
        return Path(self.places.checkpoints) / str(name)

    def _told(self, purpose: str, final: Path, n_training_samples: int) -> dict[str, Any]:
        """What TypeScript is told when the files are there, as it is now."""
        return {
            "purpose": purpose,
            **self._at(final),
            "saes": [sae.name for sae in self.run.saes if sae.name is not None],
            "n_training_samples": n_training_samples,
            "n_rows": self.run.n_rows,
        }

    def _put(self, files: Files, **told: Any) -> None:
        """Write one folder for all SAEs, so that it becomes complete at once, and say so."""
        staging = Path(told["staging"])
        try:
            write_files(files, staging)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise WorkerError(
                "STORAGE",
                f"Cannot write the SAE to {told['final']}: {error}",
                hint="Free space there, or choose another output_path or checkpoint_path.",
                details={"full": is_full(error)},
            ) from error
        self.session.event("checkpoint", **told)
        if told["purpose"] in RESUMABLE:
            self._written = told["n_training_samples"]

    def _put_or_rescue(self, files: Files, **told: Any) -> None:
        """In its place or, where that is full, in the folder for such a case, until that cannot be written either."""
        try:
            self._put(files, **told)
        except WorkerError as error:
            if self._rescue is None or not error.details["full"]:
                raise
            name = "output" if told["purpose"] == "output" else Path(told["final"]).name
            elsewhere = self._at(Path(self._rescue) / name)
            self.session.log("warning", f"{error.message}; it goes to {elsewhere['final']}")
            try:
                self._put(files, **{**told, **elsewhere})
            except WorkerError as another:
                self._rescue = None
                self.session.log("warning", another.message)
                raise error from another

    def _at(self, final: Path) -> dict[str, str]:
        """Beside its place, so that the rename stays on one file system."""
        return {
            "final": str(final),
            "staging": str(final.with_name(f"{final.name}.{self.places.staging_suffix}")),
        }

    def _files(self, purpose: str, copy: bool) -> Files:
        """Those of one SAE, of several a folder each, and the state of all. With ``copy`` training may go on before
        they are written."""
        run, files = self.run, Files()
        for sae in run.saes:
            of_sae = sae.files(with_state=purpose != "output")
            files.update(
                {name if sae.name is None else f"{sae.name}/{name}": of_sae[name] for name in of_sae}
            )
        if purpose in RESUMABLE and run.stream.repeatable:
            trained = copied(self._trained()) if copy else self._trained()
            files.update(state_files({**trained, **under("stream", run.stream.state())}))
        return files

    def _trained(self) -> State:
        """All that steps change, besides the stream."""
        run, first = self.run, self.run.trainers[0]
        state: State = {
            "n_training_steps": first.n_training_steps,
            "n_training_samples": first.n_training_samples,
            **({SKIPPED: [*run.rows.skipped]} if run.rows.skipped else {}),
        }
        for sae in run.saes:
            state.update(under(sae.state_name, sae.trainer.state()))
        return state

    def _has_room(self) -> bool:
        """Whether there is memory for all that a checkpoint holds: a buffer may be larger than the weights."""
        parameters = [parameter for trainer in self.run.trainers for parameter in trainer.parameters]
        of_weights = sum(COPIES_OF_A_WEIGHT * parameter.nbytes for parameter in parameters)
        return free_memory() > SPARE_MEMORY * (of_weights + self.run.stream.held_bytes)
