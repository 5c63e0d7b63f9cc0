"""The one error the worker raises on purpose. It crosses the border by its code and is made anew in TypeScript."""

from typing import Any


class WorkerError(Exception):
    """A failure with a code of src/errors.ts.

    Args:
        code: a key of the table in src/errors.ts, for example ``HOOK_NOT_FOUND``.
        message: the action that failed, what was tried and what was seen.
        hint: what to do next, a command where there is one.
        details: JSON values for ``--json`` users; no secrets.
    """

    def __init__(
        self, code: str, message: str, hint: str | None = None, details: dict[str, Any] | None = None
    ):
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        """An exception is copied by its arguments; this one has more than it shows. It may come from a pool."""
        return WorkerError, (self.code, self.message, self.hint, self.details)
