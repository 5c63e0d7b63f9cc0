"""The official W&B client for one run, called from src/sinks/wandb.ts. One process holds at most one run."""

import netrc
import os
from typing import Any
from urllib.parse import urlparse

import wandb

#: How long the client may try to reach its server before the run goes on offline.
INIT_TIMEOUT_S = 30

_run: wandb.Run | None = None


def start(
    *,
    project: str,
    entity: str | None,
    name: str | None,
    run_id: str | None,
    config: dict[str, Any],
    directory: str,
) -> dict[str, Any]:
    """Begins the run, offline when there is no key or no server.

    Args:
        run_id: continues that run when it exists, as a resumed training must.
        directory: the client makes its ``wandb`` folder in there.

    Returns:
        ``mode`` (online, offline, disabled), ``reason`` it is not what was expected or null, ``id``, ``url``,
        and ``directory``, the folder ``wandb sync`` takes when the run is offline.
    """
    global _run  # noqa: PLW0603 - pythonia calls functions; the run lives between calls
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    reason = None if "WANDB_MODE" in os.environ or mode == "online" else "no W&B API key was found"
    arguments = {
        "project": project,
        "entity": entity,
        "name": name,
        "id": run_id,
        "resume": None if run_id is None else "allow",
        "config": config,
        "dir": directory,
        # x_disable_stats: this process is idle, its system metrics would say nothing about the training.
        "settings": wandb.Settings(
            console="off", silent=True, x_disable_stats=True, init_timeout=INIT_TIMEOUT_S, disable_code=True
        ),
    }
    try:
        _run = wandb.init(mode=mode, **arguments)
    except Exception as error:
        if mode != "online":
            raise
        wandb.teardown()
        mode, reason = "offline", f"{type(error).__name__}: {error}"
        _run = wandb.init(mode=mode, **arguments)
    return {
        "mode": mode,
        "reason": reason,
        "id": _run.id,
        "url": _run.url,
        "directory": os.path.dirname(_run.dir),
    }


def log(rows: list[dict[str, Any]]) -> None:
    """Logs rows in order, each ``{"step", "row", "histograms": {name: {"counts", "edges"}}}``."""
    for entry in rows:
        values = dict(entry["row"])
        for name, histogram in entry["histograms"].items():
            values[name] = wandb.Histogram(np_histogram=(histogram["counts"], histogram["edges"]))
        _started().log(values, step=entry["step"])


def log_artifact(
    name: str, kind: str, files: dict[str, str], aliases: list[str], metadata: dict[str, Any]
) -> None:
    """Logs files (name inside the artifact: path) as an artifact; the upload goes on in the background.

    Checkpoint folders never change once they have their name, so the client may read them in place
    (``immutable``) instead of copying each checkpoint once more.
    """
    artifact = wandb.Artifact(name, type=kind, metadata=metadata)
    for inner, path in files.items():
        artifact.add_file(path, name=inner, policy="immutable")
    _started().log_artifact(artifact, aliases=aliases)


def finish(exit_code: int) -> None:
    """Ends the run; waits until everything is written, or uploaded when online."""
    _started().finish(exit_code=exit_code)


def _started() -> wandb.Run:
    if _run is None:
        raise RuntimeError("start was not called")
    return _run


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
