"""The nearest names to a name that was not found."""

import difflib
import re
from collections.abc import Iterable

_NUMBERS = re.compile(r"\d+")


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most ``count`` of ``known``, best first; those that differ only in their numbers come first."""
    names = list(known)
    wanted = _NUMBERS.sub("#", name)
    alike = [other for other in names if _NUMBERS.sub("#", other) == wanted]
    by_letters = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    numbers = [int(n) for n in _NUMBERS.findall(name)]

    def distance(other: str) -> int:
        return sum(abs(a - int(b)) for a, b in zip(numbers, _NUMBERS.findall(other), strict=True))

    return list(dict.fromkeys([*sorted(alike, key=distance), *by_letters]))[:count]
