"""What damage makes of a file; twin of test/mutations.ts in kind, not in the very bytes."""

import json
import random
from collections.abc import Iterator
from typing import Any

VALUES = [None, True, -1, 0, 1e308, 2**53, "", "../../x", "float32", [], [None], {}, [[[]]]]
"""What a value of JSON may be taken for, wrongly."""


def mutations(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The file cut off, with a bit or a stretch of bytes changed, and of JSON (the header of a safetensors file is that
    too) with a value of another kind. The same seed gives the same damage."""
    rng = random.Random(seed)
    for i in range(count):
        damaged, at = bytearray(whole), rng.randrange(len(whole))
        match i % 4:
            case 0:
                yield whole[:at]
            case 1:
                damaged[at] ^= 1 << rng.randrange(8)
                yield bytes(damaged)
            case 2:
                stretch = rng.randbytes(rng.randrange(1, 17))
                damaged[at : at + len(stretch)] = stretch[: len(whole) - at]
                yield bytes(damaged)
            case 3:
                yield _with_one_other_value(whole, rng)


def _with_one_other_value(whole: bytes, rng: random.Random) -> bytes:
    if whole[:1] == b"{":
        return json.dumps(_changed(json.loads(whole), rng)).encode()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.dumps(_changed(json.loads(whole[8:end]), rng)).encode()
    return len(header).to_bytes(8, "little") + header + whole[end:]


def _changed(value: Any, rng: random.Random) -> Any:
    """The same value but for one place in it."""
    places = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    at = rng.randrange(len(places) + 1)
    if at == len(places):
        return rng.choice(VALUES)
    copy = value.copy()
    copy[places[at]] = _changed(copy[places[at]], rng)
    return copy
