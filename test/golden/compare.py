"""What a replayed case had in common with its record, and what not."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


class RecordedTensors:
    """The tensors of a case, and which of them nothing has looked at yet.

    A record may lack some (not every case has ``hidden_pre``), but none may be left unread without a word.
    """

    def __init__(self, path: Path):
        self._all = load_file(path)
        self._unread = set(self._all)

    def get(self, name: str) -> Tensor | None:
        """The tensor called ``name``, if it was recorded."""
        self._unread.discard(name)
        return self._all.get(name)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """All that start with ``prefix.``, by the rest of their names."""
        start = f"{prefix}."
        names = [name for name in self._all if name.startswith(start)]
        self._unread.difference_update(names)
        return {name.removeprefix(start): self._all[name] for name in names}

    def numbered(self, prefix: str) -> list[Tensor]:
        """``prefix.0``, ``prefix.1`` and so on."""
        group = self.group(prefix)
        return [group[str(i)] for i in range(len(group))]

    def has(self, prefix: str) -> bool:
        """Whether there is a tensor of that name or group."""
        return any(name == prefix or name.startswith(f"{prefix}.") for name in self._all)

    def unread(self, *prefixes: str) -> list[str]:
        """What nobody has looked at, of all or of those that start with a prefix."""
        return sorted(name for name in self._unread if not prefixes or name.startswith(prefixes))

    def set_aside(self, *prefixes: str) -> None:
        """Leave out what starts with a prefix, for a reason that the report names."""
        self._unread.difference_update(self.unread(*prefixes))


@dataclass
class Comparison:
    """What was compared, what differs, and what a reader must know beside it."""

    n_values: int = 0
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tensors(self, name: str, ours: Tensor | None, theirs: Tensor, atol: float) -> None:
        """Same shape and every element within ``atol``."""
        self.n_values += 1
        if ours is None or ours.shape != theirs.shape:
            found = "nothing" if ours is None else f"shape {tuple(ours.shape)}"
            self.differences.append(f"{name}: {found} for {tuple(theirs.shape)}")
            return
        ours, theirs = ours.double(), theirs.double()
        worst = (ours - theirs).nan_to_num(nan=torch.inf).where(ours != theirs, 0.0).abs().max().item()
        if worst > atol:
            self.differences.append(f"{name}: {worst:.3g} > {atol:.3g}")

    def numbers(self, name: str, ours: float, theirs: float, rtol: float, atol: float = 1e-12) -> None:
        """Equal within a relative tolerance."""
        self.n_values += 1
        if not abs(ours - theirs) <= rtol * abs(theirs) + atol:
            self.differences.append(f"{name}: {ours!r} for {theirs!r}")

    def equal(self, name: str, ours: Any, theirs: Any) -> None:
        """Exactly the same."""
        self.n_values += 1
        if ours != theirs:
            self.differences.append(f"{name}: {ours!r} for {theirs!r}")


class RecordedBatches:
    """The recorded batches, and those the estimate was made from, where they were recorded."""

    def __init__(self, estimates: list[Tensor], batches: list[Tensor]):
        self._estimates, self._batches = estimates, iter(batches)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        return next(self._batches)

    def estimation_batches(self) -> Generator[Tensor, None, None]:
        yield from self._estimates

    def peek_rows(self) -> Tensor:
        """Never asked: ``b_dec`` starts as recorded."""
        raise NotImplementedError


class MetricRows:
    """Takes the rows of metrics; asks for nothing."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}

    def on_metrics(self, step: int, row: dict[str, float]) -> None:
        self.rows[step] = row

    def on_stage(self, *_: Any) -> None: ...

    def on_sparsity(self, *_: Any) -> None: ...

    def on_kernels(self, *_: Any) -> None: ...

    def evaluate(self, _: int) -> None: ...

    def should_stop(self) -> bool:
        return False

    def take_checkpoint_request(self) -> bool:
        return False

    def on_checkpoint(self, *_: Any) -> None: ...
