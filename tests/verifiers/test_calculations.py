"""Calculations in a rationale: read exactly, and only what is a calculation."""

from fractions import Fraction

import pytest
from rdistill.verifiers.steps import answered, calculations

from rdistill.verifiers.cases import to_pair
from rdistill.verifiers.registry import create


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("so 24 - 9 = 15 left.", [[15, 15]]),
        ("6 x 14 = 84, then 84 / 2 = 42.", [[84, 84], [42, 42]]),
        ("1,200 + 300 = 1,500", [[1500, 1500]]),
        ("$ 4 - $ 3 = $ 1.", [[1, 1]]),
        ("2 + 2 = 2 * 2 = 4", [[4, 4, 4]]),
        ("10 - 4 = 6, 6 + 2 = 8", [[6, 6], [8, 8]]),
        ("5 + 3 = 8. 8 - 1 = 7.", [[8, 8], [7, 7]]),
        ("1. 20 + 5 = 25\n2) 25 - 1 = 24", [[25, 25], [24, 24]]),
        ("- 20 + 5 = 25\n* 25 - 1 = 24", [[25, 25], [24, 24]]),
        ("2x + 3 = 13, y + 3 - 1 = 13, 20% - 3 + 1 = 5", []),
        ("-5 + 3 = -2", [[-2, -2]]),
        ("2^3 + 1 = 9, 5^2 = 25", [[9, 9], [25, 25]]),
        ("f(2) + 1 = 5, x_1 + 2 = 5, √16 + 3 = 7, half of 10 + 2 = 7", []),
        ("twice 4 + 2 = 5 * 2 = 10", [[10, 10]]),
        ("a total of 5 + 3 = 8, y=5+3=8, US$5 + $3 = $8", [[8, 8], [8, 8], [8, 8]]),
        ("x = 14, page 3-4, on 3/4/2026", []),
        ("10 / 0 = 5", []),
        ("= = = 9**9**9 = 3 =", []),
    ],
)
def test_what_is_read_as_a_calculation(text: str, values: list[list[int]]) -> None:
    assert [[side.value for side in sides] for _, sides in calculations(text)] == values


def test_a_decimal_may_be_rounded_in_its_last_place_alone() -> None:
    ((_, (exact, written)),) = calculations("22 / 7 = 3.14")
    assert exact.value == Fraction(22, 7) and written.rounding == Fraction(1, 200)


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("12 apples", {12}),
        ("$1,234.50", {Fraction("1234.5")}),
        ("-1/2", {Fraction(1, 2)}),
        ("1 1/2 cups", {Fraction(3, 2)}),
        ("2 and 3/4", {Fraction(11, 4)}),
        (r"$\frac{10}{3}$", {Fraction(10, 3)}),
        ("2^3", {2, 3, 8}),
        ("1/0", set()),
        ("", set()),
    ],
)
def test_the_numbers_of_an_answer(answer: str, values: set[Fraction]) -> None:
    assert answered(answer) == values


def test_a_rationale_without_calculation_passes_where_none_is_asked_for() -> None:
    problem, sample = to_pair({"id": "a", "gold": None, "answer": "Paul sold 11 books.\n#### 11"})
    assert create("steps", {}).check(problem, sample).status == "fail"
    assert create("steps", {"require_calculation": False}).check(problem, sample).status == "pass"
