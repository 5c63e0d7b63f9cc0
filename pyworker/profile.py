"""Where the time of training goes: named parts of a step, each without the parts inside it.

A part costs nothing while nobody measures. Measured on CUDA, every part waits for the device, so that time is where it
is spent; such a run is a little slower than others.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch


@dataclass
class Part:
    """Seconds and how often."""

    seconds: float = 0.0
    calls: int = 0


@dataclass
class Profile:
    """The measure of one thread: work that others do meanwhile is what this one waits for."""

    device: str
    parts: dict[str, Part] = field(default_factory=dict)
    _inner_seconds: list[float] = field(default_factory=list)

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Count what is done inside, less the parts inside it."""
        began = self._now()
        self._inner_seconds.append(0.0)
        try:
            yield
        finally:
            seconds = self._now() - began
            part = self.parts.setdefault(name, Part())
            part.seconds += seconds - self._inner_seconds.pop()
            part.calls += 1
            if self._inner_seconds:
                self._inner_seconds[-1] += seconds

    def _now(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


_measuring = threading.local()
_NOTHING: AbstractContextManager[None] = nullcontext()


def part(name: str) -> AbstractContextManager[None]:
    """A named part of the work, where it is measured."""
    if torch.compiler.is_compiling():
        return _NOTHING
    profile: Profile | None = getattr(_measuring, "profile", None)
    return _NOTHING if profile is None else profile.measured(name)


@contextmanager
def profiled(profile: Profile | None) -> Iterator[None]:
    """Measure the parts of what is done inside by this thread."""
    _measuring.profile = profile
    try:
        yield
    finally:
        _measuring.profile = None
