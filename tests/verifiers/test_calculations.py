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
        ("**5 * 4 = 21**, 5 * 4 = **21**, 5 * **4** = 21", [[20, 21]] * 3),
        ("***5 * 4*** = 21, __5 * 4 = 21__, 5 * 4 = _21_, 5 * 4 = *21*", [[20, 21]] * 4),
        ("**So: **5 * 4 = 21\n**5 * 4 = 21\n20 + 0 = 21**", [[20, 21]] * 3),
        ("2**3 = 8, 2 ** 3 = 8, **2**3 = 8**, y**2 = 4 * 4 = 16", [[8, 8], [8, 8], [8, 8], [16, 16]]),
        ("`5 * 4 = 21`, 5 * 4 = `21`, £5 * 4 = £21, 5€ * 4 = 21€, 5 ⋅ 4 = 21", [[20, 21]] * 5),
        (r"$5 \times 4 = 21$ $21 \cdot 1 = 21$", [[20, 21], [21, 21]]),
        (r"\(5 \times 4\) = 21; \[5 \ast 4 = 21\] \(20 \div 2 = 11\)", [[20, 21], [20, 21], [10, 11]]),
        (r"$\frac{12}{4} = 3$, $6 \div \frac{1}{2} = 12$, $1\frac{1}{2} + \frac12 = 2$", [[3, 3], [12, 12], [2, 2]]),
        (
            r"$\frac{\frac{3}{2}}{3} = 0.5$, $2\frac{6}{3} = 4$, $2^{3} + 1{,}000 = 1008$",
            [["1/2"] * 2, [4, 4], [1008, 1008]],
        ),
        (
            r"$\frac{8 \text{ apples}}{2} = \boxed{4} \text{ apples}$, \left(3 + 4\right)\times 2 = 14",
            [[4, 4], [14, 14]],
        ),
        (r"\begin{align*} 5 \times 4 &= 21 \\[2pt] &= 20\end{align*}", [[20, 21, 20]]),
        ("Cost\n= 6 * 4\n  = 25", [[24, 25]]),
        (r"\sqrt{16} + 3 = 7, \sqrt\frac{1}{4} + 3 = 3.5, 10 \bmod 3 + 1 = 2, \frac{3x}{4} + 1 = 7", []),
        (r"$180^\circ - 90^{\circ} = 90^\circ$, 90° - 30° = 60°", [[90, 90], [60, 60]]),
    ],
)
def test_what_is_read_as_a_calculation(text: str, values: list[list[int | str]]) -> None:
    assert [[side.value for side in sides] for _, sides in calculations(text)] == [[*map(Fraction, v)] for v in values]


def test_a_decimal_may_be_rounded_in_its_last_place_alone() -> None:
    ((_, (exact, written)),) = calculations("22 / 7 = 3.14")
    assert exact.value == Fraction(22, 7) and written.rounding == Fraction(1, 200)


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("12 apples", {12}),
        ("$1,234.50", {Fraction("1234.5")}),
        ("-1/2", {Fraction(-1, 2)}),
        ("it is -$3", {-3}),
        ("- 3 apples", {-3}),
        ("x = −3", {-3}),
        ("3-5", {3, 5, -2}),
        ("A-2", {2}),
        (r"$-\frac{1}{2}$", {Fraction(-1, 2)}),
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
