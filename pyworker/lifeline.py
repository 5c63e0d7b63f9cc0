"""What makes sure that no worker outlives its orchestrator, whatever either of them is doing.

A small guardian process, forked before anything is imported, holds the worker's stdin. When stdin ends (the
orchestrator is gone) or the worker is gone, it kills the worker's whole process group. A thread could not do
that: a thread waits while another one holds the GIL (reference/faults.md B2.5). On Linux the kernel also
kills the worker itself the moment its parent dies.
"""

import ctypes
import faulthandler
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
GUARD_INTERVAL_S = 1.0


def read_boot_line() -> bytes:
    """The first line of stdin, and not a byte more: what follows belongs to the guardian."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            raise SystemExit(
                "sae-lens-ts worker: stdin ended before the boot line; it is started by sae-lens-ts only"
            )
        line += byte
    return bytes(line)


def hold(parent_pid: int) -> None:
    """Ties this process and its group to its parent's life. Call before threads and heavy imports.

    Args:
        parent_pid: the pid of the orchestrator as it knows itself; compared because it may be gone already, and not
            with 1, because containers and user sessions adopt orphans differently.
    """
    worker_pid = os.getpid()
    if os.fork() == 0:
        _guard(worker_pid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise SystemExit("sae-lens-ts worker: the orchestrator is gone")
    _to_null(0)
    # Ctrl-C belongs to the orchestrator, which asks for a checkpoint first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _guard(worker_pid: int) -> None:
    """Body of the guardian; never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # The log pipes must end with the worker, not with its guardian.
    _to_null(1)
    _to_null(2)
    while os.getppid() == worker_pid:
        readable, _, _ = select.select([0], [], [], GUARD_INTERVAL_S)
        if readable and not os.read(0, 4096):
            break
    # Only a group of our own: a worker started by hand shares its shell's group.
    if os.getpgrp() == worker_pid:
        os.killpg(worker_pid, signal.SIGKILL)
    elif os.getppid() == worker_pid:
        os.kill(worker_pid, signal.SIGKILL)
    os._exit(0)


def _to_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
