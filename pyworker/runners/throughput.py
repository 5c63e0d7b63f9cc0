"""How fast training goes and where its time goes, between two rows of metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Throughput:
    """Wall-clock seconds of the training thread since the last row. What a GPU is still at counts where it is waited
    for.

    Args:
        model_seconds: what the language model took so far, whichever thread waited for it.
        n_samples: trained on before, where training goes on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        model_seconds: Callable[[], float],
        n_samples: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._model_seconds, self._clock = model_seconds, clock
        self._waited = self._elsewhere = 0.0
        self._began, self._model_began, self._samples_began = clock(), 0.0, n_samples
        self._filled = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for activations. The first wait, which fills the buffer, belongs to no step."""
        began = self._clock()
        try:
            yield
        finally:
            if self._filled:
                self._waited += self._clock() - began
            else:
                self._filled, self._began, self._model_began = True, self._clock(), self._model_seconds()

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Around what is no training: evaluations."""
        began = self._clock()
        try:
            yield
        finally:
            self._elsewhere += self._clock() - began

    def row(self, n_samples: int) -> dict[str, float]:
        """``system/tokens_per_s`` and the shares of the time, which sum to 1, since the last call.

        Args:
            n_samples: trained on so far.
        """
        now, model = self._clock(), self._model_seconds()
        seconds = max(now - self._began - self._elsewhere, 1e-9)
        waited = min(self._waited, seconds)
        lm = min(
            model - self._model_began, waited
        )  # prefetched, it runs beside the SAE and is not waited for
        speed = (n_samples - self._samples_began) / seconds
        self._began, self._model_began, self._samples_began = now, model, n_samples
        self._waited = self._elsewhere = 0.0
        return {
            "system/tokens_per_s": speed,
            "system/lm_share": lm / seconds,
            "system/data_share": (waited - lm) / seconds,
            "system/sae_share": 1 - waited / seconds,
        }
