"""The one function pythonia calls. Only text crosses: a NaN or bytes on its channel end a process."""

import ctypes
import importlib
import json
import math
import signal
import sys
import traceback
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel to end this process with Node: a call that holds the GIL sees no channel close."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def rpc(module: str, function: str, payload: str) -> str:
    """Calls ``module.function`` with JSON arguments.

    Args:
        payload: ``{"args": [...], "kwargs": {...}}`` as JSON.

    Returns:
        ``{"ok": true, "value": ...}``, or ``{"ok": false, "type", "message", "traceback"}`` for anything
        raised, SystemExit included. Numbers JSON lacks become null.
    """
    try:
        arguments = json.loads(payload)
        target = getattr(importlib.import_module(module), function)
        value = target(*arguments["args"], **arguments["kwargs"])
        return json.dumps({"ok": True, "value": _finite(value)}, allow_nan=False)
    except BaseException as error:
        return json.dumps(
            {
                "ok": False,
                "type": type(error).__name__,
                "message": str(error),
                "traceback": traceback.format_exc(limit=-20),
            }
        )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


die_with_parent()
