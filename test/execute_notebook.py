"""Executes a notebook in its place, as ``jupyter nbconvert --execute --inplace`` does:
``python execute_notebook.py PATH KERNEL SECONDS_A_CELL``. A cell that fails ends it with a traceback, and the file
stays as it was.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.client import CellExecutionComplete


class PatientClient(NotebookClient):
    """Keeps what the kernel says of a cell after it called the cell finished, as JupyterLab does and nbclient does not.
    Deno's kernel prints from a task of its own: with the processor busy a third of its cells lost a line.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._asked = {}

    async def _async_poll_output_msg(self, parent_msg_id, cell, cell_index):
        self._asked[parent_msg_id] = cell, cell_index
        while True:
            msg = await self.kc.iopub_channel.get_msg(timeout=None)
            asked = msg["parent_header"].get("msg_id")
            if asked not in self._asked:
                continue
            try:
                self.process_message(msg, *self._asked[asked])
            except CellExecutionComplete:
                if asked == parent_msg_id:
                    return


if __name__ == "__main__":
    path, kernel, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    notebook = nbformat.read(path, as_version=4)
    PatientClient(notebook, kernel_name=kernel, timeout=seconds).execute()
    nbformat.write(notebook, path)
