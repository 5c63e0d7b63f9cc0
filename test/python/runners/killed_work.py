"""``killed_work.py CHANGES FOLDER N…``: the work of small_work.run into FOLDER/N, killed at its Nth written file.

Each work is a fork of this process, which has imported everything and started nothing.
"""

import json
import os
import signal
import sys
from pathlib import Path

from small_work import run

from pyworker.runners import pretokenize as runner

rename = Path.rename
left = [0]


def killing_rename(self: Path, target: Path) -> Path:
    """Renaming is what makes a file count."""
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)


def main(changes: str, folder: str, *counts: str) -> None:
    runner.PIECE_SECONDS = 0
    Path.rename = killing_rename
    for count in counts:
        if (child := os.fork()) == 0:
            left[0] = int(count)
            run(**json.loads(changes), save_path=f"{folder}/{count}")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(-os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
