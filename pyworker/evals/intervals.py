"""How far a metric may be off because only so many batches were read: the jackknife over batches.

Metrics are computed from all batches and, for each batch, from all others. Of n batches with θ₍ᵢ₎ the metric without
batch i, the standard error is √((n − 1)/n · Σ (θ₍ᵢ₎ − mean θ)²) (Efron and Stein, 1981,
https://doi.org/10.1214/aos/1176345462), and the interval the metric ± t · standard error, with the 97.5 % point of
Student's t with n − 1 degrees of freedom. For a mean over batches of one size this is the usual interval of a mean; it
holds for quotients (explained variance, scores) too. Batches count as independent draws of the text.
"""

import math
from collections.abc import Mapping, Sequence

LEVEL = 0.95
_STEPS = 400


def intervals(
    metrics: Mapping[str, float], without_each: Sequence[Mapping[str, float]]
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric; NaN where there are fewer than two batches, or one is not defined.

    Args:
        metrics: of all batches.
        without_each: of all but one, for each batch.
    """
    n = len(without_each)
    t = t_quantile(1 - (1 - LEVEL) / 2, n - 1) if n > 1 else math.nan
    found: dict[str, tuple[float, float]] = {}
    for name, value in metrics.items():
        if n < 2:
            found[name] = (math.nan, math.nan)
            continue
        others = [one[name] for one in without_each]
        centre = sum(others) / n
        error = math.sqrt((n - 1) / n * sum((other - centre) ** 2 for other in others))
        found[name] = (value - t * error, value + t * error)
    return found


def t_quantile(p: float, degrees: int) -> float:
    """The point below which Student's t with so many degrees of freedom lies with probability p > 0.5.

    Found by bisection; the density is summed by Simpson's rule over the angle θ with t = √degrees · tan θ, where it is
    proportional to cosᵈ⁻¹ θ and bounded.
    """

    def area(to: float) -> float:
        step = to / _STEPS
        weights = (1 if i in (0, _STEPS) else 4 if i % 2 else 2 for i in range(_STEPS + 1))
        values = (math.cos(i * step) ** (degrees - 1) for i in range(_STEPS + 1))
        return step / 3 * sum(w * v for w, v in zip(weights, values, strict=True))

    half = area(math.pi / 2)
    low, high = 0.0, math.pi / 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) / half < 2 * p - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)
