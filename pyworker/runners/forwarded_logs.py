"""The worker's own log, sent across the border while a request runs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def forwarded_logs(session: Any) -> Iterator[None]:
    """While held, what this package logs becomes log lines of the request."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            session.log(record.levelname.lower(), record.getMessage())

    handler = Forward(logging.INFO)
    logger = logging.getLogger("pyworker")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
