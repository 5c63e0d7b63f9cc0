"""Where training rows come from: the one seam between them and training.

Three sources stand behind it: the language model (:mod:`model_rows`), a cache on disk (:mod:`cached_rows`) and rows
fed from TypeScript (:mod:`fed_rows`). The stream mixes, estimates and checks alike whichever it is.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from pyworker.data.rows import Rows


class RowSource(Protocol):
    """Training rows in chunks of a bounded size; unmixed, unfiltered, of any floating type, on any device.

    Attributes:
        name: what it reads, for messages.
        giver: whose NaN or infinity it is when a row has it, and what is to be done.
        restarts: whether :meth:`chunks` may be called again. What cannot be read twice, cannot be estimated on
            beyond what the mixing buffer holds.
        model_seconds: what a language model took for the chunks so far.
    """

    name: str
    giver: tuple[str, str]
    restarts: bool
    model_seconds: float

    def chunks(self, start: int = 0) -> Iterator[Rows]:
        """Chunk ``start``, ``start + 1``, …; chunk c is a function of c alone where the source restarts.

        With prefetching another thread runs it.
        """
        ...

    def special_token_ids(self) -> list[int]:
        """The ids that ``exclude_special_tokens: true`` leaves out."""
        ...

    def paused(self) -> AbstractContextManager:
        """While held, no chunk is computed: an evaluation has the model to itself."""
        ...
