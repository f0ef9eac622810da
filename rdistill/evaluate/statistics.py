"""The numbers of a scorecard, from lists of answers. Pure functions."""

import math
from collections.abc import Sequence

import numpy as np


def wilson_interval(passed: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % score interval of a proportion.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4.
    """
    if n == 0:
        return 0.0, 1.0
    share = passed / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def expected_calibration_error(
    confidence_N: Sequence[float], correct_N: Sequence[bool], bins: int = 10
) -> float | None:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by bin size; None without data.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    if not confidence_N:
        return None
    confidence, correct = np.asarray(confidence_N, float), np.asarray(correct_N, float)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[index == b].mean() - correct[index == b].mean()) * (index == b).sum()
        for b in range(bins)
        if (index == b).any()
    ]
    return float(sum(gaps) / len(confidence))


def paired_comparison(first_N: Sequence[bool], second_N: Sequence[bool]) -> dict[str, float]:
    """Exact McNemar test of two models on the same items, and the accuracy difference second - first.

    Source: McNemar 1947; the exact form is a binomial test on the discordant items.
    """
    from scipy.stats import binomtest

    lost = sum(a and not b for a, b in zip(first_N, second_N, strict=True))
    won = sum(b and not a for a, b in zip(first_N, second_N, strict=True))
    p_value = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    return {
        "n": len(first_N),
        "difference": (won - lost) / max(1, len(first_N)),
        "won": won,
        "lost": lost,
        "p_value": p_value,
    }


def percentiles(values_N: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99."""
    if not values_N:
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    p50, p95, p99 = np.percentile(np.asarray(values_N, float), [50, 95, 99])
    return {"p50": round(float(p50), 4), "p95": round(float(p95), 4), "p99": round(float(p99), 4)}
