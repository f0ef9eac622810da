"""The numbers of a scorecard against values worked by hand or known from tables."""

import math
import random

import pytest

from rdistill.evaluate.statistics import expected_calibration_error, paired_comparison, percentiles, wilson_interval


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [
        # statsmodels.stats.proportion.proportion_confint(passed, n, method="wilson")
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 200, 0.000883, 0.027780),
        (87, 200, 0.368166, 0.504248),
        (50, 100, 0.403832, 0.596168),
    ],
)
def test_wilson_interval(passed: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(passed, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_without_data_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_covers_the_truth_as_often_as_it_says() -> None:
    dice, share, n = random.Random(0), 0.1, 80
    hits = 0
    for _ in range(2000):
        low, high = wilson_interval(sum(dice.random() < share for _ in range(n)), n)
        hits += low <= share <= high
    assert 0.93 < hits / 2000 < 0.98


def test_mcnemar_by_hand() -> None:
    # Two items lost, eight won: p = 2 * P(X <= 2), X ~ Binomial(10, 1/2) = 2 * (1 + 10 + 45) / 1024.
    first = [True] * 2 + [False] * 8 + [True] * 5 + [False] * 5
    second = [False] * 2 + [True] * 8 + [True] * 5 + [False] * 5
    found = paired_comparison(first, second)
    assert (found["n"], found["won"], found["lost"], found["difference"]) == (20, 8, 2, 0.3)
    assert found["p_value"] == pytest.approx(112 / 1024)
    swapped = paired_comparison(second, first)
    assert (swapped["difference"], swapped["p_value"]) == (-0.3, found["p_value"])


def test_mcnemar_without_a_difference() -> None:
    assert paired_comparison([True, False], [True, False])["p_value"] == 1.0
    assert paired_comparison([], []) == {"n": 0, "difference": 0.0, "won": 0, "lost": 0, "p_value": 1.0}
    with pytest.raises(ValueError, match="longer"):
        paired_comparison([True], [True, False])


def test_calibration_error_by_hand() -> None:
    # Bin [0.9, 1]: mean confidence 0.95, accuracy 1/2; bin [0.2, 0.3): 0.25, accuracy 0.
    confidence, correct = [0.9, 1.0, 0.25, 0.25], [True, False, False, False]
    assert expected_calibration_error(confidence, correct) == pytest.approx((2 * 0.45 + 2 * 0.25) / 4)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([0.0], [True]) == 1
    assert expected_calibration_error([], []) is None


def test_calibration_error_of_a_calibrated_model_is_small() -> None:
    dice = random.Random(1)
    confidence = [dice.random() for _ in range(20_000)]
    assert expected_calibration_error(confidence, [dice.random() < c for c in confidence]) < 0.02


def test_percentiles() -> None:
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50": 50.5, "p95": 95.05, "p99": 99.01}
    assert percentiles([]) == {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    assert all(math.isclose(v, 2.5) for v in percentiles([2.5]).values())
