"""Every failure that a person can bring about says what helps."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_OURS = {"PROTOCOL", "INTERRUPTED"}
"""A fault of the two halves, which nobody outside can mend, and what somebody asked for."""
HINT = 2
"""The place of ``hint`` among the arguments."""


def _raised() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(ROOT.glob("pyworker/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "WorkerError"
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_error_of_the_worker_has_a_hint():
    found = [*_raised()]
    without = [
        where
        for where, call in found
        if len(call.args) <= HINT
        and "hint" not in {keyword.arg for keyword in call.keywords}
        and not (isinstance(call.args[0], ast.Constant) and call.args[0].value in OF_OURS)
    ]
    assert len(found) > 100
    assert without == []
