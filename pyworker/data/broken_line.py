"""The line of a JSON, CSV or text file that its reader stumbled over.

The readers themselves name a row of some block, or nothing.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec

JSON = {".jsonl", ".ndjson", ".json"}
TEXT = {".txt", ".text", ".csv"}
SHOWN_CHARACTERS = 60
SEARCHED_BYTES = 2**30
"""Of all files together, so that the search takes seconds. What lies beyond is named as its reader names it."""


def broken_line(path: Path) -> str | None:
    """Look through a file, or the files of a folder, for the first line that cannot be read.

    Returns:
        a clause that names file and line; None when there is no such line.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    left = SEARCHED_BYTES
    for file in files:
        suffixes = {suffix.lower() for suffix in file.suffixes}
        if left > 0 and suffixes & (JSON | TEXT):
            found = _broken_line_of(file, suffixes, left)
            if found is not None:
                return found
            left -= file.stat().st_size
    return None


def _broken_line_of(file: Path, suffixes: set[str], limit: int) -> str | None:
    try:
        with fsspec.open(str(file), "rb", compression="infer") as lines:
            problem = _first_problem(_until(lines, limit), bool(suffixes & JSON))
        if problem is None:
            return None
        if ".json" in suffixes:  # it may be one document instead of lines
            if file.stat().st_size > limit:
                return None
            with fsspec.open(str(file), "rb", compression="infer") as whole:
                json.loads(whole.read())
            return None
    except json.JSONDecodeError as cause:
        problem = cause.lineno, f"is no JSON: {cause.msg.removesuffix(' at')} at character {cause.colno}"
    except Exception:  # a broken archive has no lines; what its reader said stands
        return None
    return f"line {problem[0]} of {str(file)!r} {problem[1]}"


def _until(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    n_read = 0
    for line in lines:
        yield line
        n_read += len(line)
        if n_read >= limit:
            return


def _first_problem(lines: Iterable[bytes], is_json: bool) -> tuple[int, str] | None:
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            value = json.loads(text) if is_json and text else {}
        except UnicodeDecodeError as cause:
            return number, f"is not UTF-8: {cause.reason} at byte {cause.start}"
        except json.JSONDecodeError as cause:
            what = f"{cause.msg.removesuffix(' at')} at character {cause.colno}"
            return number, f"is no JSON: {what} of {text[:SHOWN_CHARACTERS]!r}"
        if not isinstance(value, dict):
            return number, f"is no JSON object with the columns as keys: {text[:SHOWN_CHARACTERS]!r}"
    return None
