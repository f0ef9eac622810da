"""Do two formulas of the small grammar have the same values? They are computed at fixed points, with mpmath.

For what math-verify's grammar misses: hyperbolic functions, floors, sums and integrals with bounds, |a|b||. It only
ever says that two are the same: all points where both are real have to agree. A budget of steps bounds the time.
"""

import re
from itertools import pairwise
from typing import Any

from rdistill.verifiers.math import grammar
from rdistill.verifiers.math.grammar import BINDERS, Node
from rdistill.verifiers.math.point import MAX_STEPS, SAME_INTEGRALS, TOO_SMALL, NoValue, Point, arithmetic
from rdistill.verifiers.math.texts import has_words
from rdistill.verifiers.math.tokens import FUNCTIONS, GREEK

SAME, ZERO = 1e-40, 1e-60
"""Relative differences, and what only rounding keeps from 0."""
POSITIVE_POINTS, NUM_POINTS, LEAST_POINTS = 5, 10, 4
POINTS = (
    "0.7391",
    "1.8273",
    "2.6417",
    "17.3019",
    "1213.6071",
    "-0.5839",
    "1.3127",
    "-2.2371",
    "-31.4507",
    "-1311.4183",
    "0.2713",
)
COUNTS = (4, 7, 3, 9, 5, 8, 2, 6, 11, 10)
"""Values of a letter that a sum runs to."""
OF_NUMBERS_ONLY = frozenset(("floor", "ceil", "re", "im", "arg", "conj", "sign", "zeta", "mod", "min", "max"))
"""Two formulas with these may differ between the points."""
FUNCTION_WORD = re.compile(r"(?<![A-Za-z])(?:" + "|".join((*FUNCTIONS, *GREEK)) + r")(?![A-Za-z])")
LN, LOG = re.compile(r"(?<![A-Za-z])ln(?![A-Za-z])"), re.compile(r"(?<![A-Za-z])log(?![A-Za-z0-9]|\s*_)")
UNITS = ("i", "j", "k")
CURRENCY = re.compile(r"\\?[$€£]")


def agree(gold: str, answer: str) -> bool:
    """Whether both can be read and have the same values, or are equations whose sides differ in proportion."""
    texts = (gold, answer)
    if any("\\" not in text and has_words(FUNCTION_WORD.sub(" ", text)) for text in texts):
        return False
    if LOG.search(gold + answer) and LN.search(gold + answer):
        return False  # whether log is ln depends on the writer
    left, right = grammar.read(gold), grammar.read(answer)
    if left is None or right is None or len(left) != len(right) or len(left) > 2:
        return False
    if _is_undone(right) and not _is_undone(left):
        return False
    if len(left) == 2:
        return _same_equation([("-", *left)], [("-", *right)])
    return _same_everywhere(left[0], right[0])


def is_false_chain(text: str) -> bool:
    """Whether the sides of 7 + 1 = 42 that are numbers contradict each other, by more than rounding."""
    sides = [(side, grammar.read(CURRENCY.sub("", side).strip())) for side in text.split("=")]
    found = [(side.strip(), trees[0]) for side, trees in sides if trees and not _letters(trees[0])]
    if len(found) < 2:
        return False
    try:
        values = [(_rounding(side), Point({}).value(tree)) for side, tree in found]
        return any(abs(b - a) > max(error, other) for (error, a), (other, b) in pairwise(values))
    except (NoValue, TypeError):
        return False


def constant(text: str, scale: int) -> int:
    """A real number times `scale`, to the nearest whole number. Raises NoValue."""
    trees = grammar.read(text)
    if trees is None or len(trees) > 1 or _letters(trees[0]):
        raise NoValue
    value = Point({}).value(trees[0])
    if isinstance(value, list) or arithmetic().im(value) != 0:
        raise NoValue
    return int(arithmetic().nint(value * scale))


def _rounding(side: str) -> float:
    """Half of the last place of a decimal, and a little for anything else."""
    match = re.fullmatch(r"[-+$]*[0-9]*\.([0-9]+)", side)
    return 0.501 * 10.0 ** -len(match[1]) if match else 1e-12


def _same_everywhere(gold: Node, answer: Node) -> bool:
    swapped = _imaginary(gold, answer)
    if swapped is None:
        return False
    return _all_points(gold, answer, swapped, _is_near)


def _is_near(a: Any, b: Any, near: float) -> bool:
    return bool(abs(a - b) <= near * max(abs(a), abs(b)) or max(abs(a), abs(b)) < ZERO)


def _same_equation(gold: list[Node], answer: list[Node]) -> bool:
    ratios: list[Any] = []

    def in_proportion(a: Any, b: Any, near: float) -> bool:
        if min(abs(a), abs(b)) < TOO_SMALL:
            return False
        ratios.append(a / b)
        return bool(abs(ratios[-1] - ratios[0]) <= near * abs(ratios[0]))

    letters = _letters(gold[0])
    return bool(letters) and letters == _letters(answer[0]) and _all_points(gold[0], answer[0], {}, in_proportion)


def _imaginary(gold: Node, answer: Node) -> dict[str, Any] | None:
    """What i, j and k stand for: unit vectors beside a vector, j for i beside a complex number."""
    letters, others = grammar.names(gold), grammar.names(answer)
    for one, tree, other in ((letters, gold, others), (others, answer, letters)):
        if tree[0] == "vector" and not one & {*UNITS} and other & {"j", "k"} and other <= {*UNITS}:
            return {
                name: [int(at == n) for n in range(len(tree) - 1)] for at, name in enumerate(UNITS[: len(tree) - 1])
            }
    if "i" in letters | others and "j" in letters ^ others:
        return {"j": 1j} if not (letters | others) - {"i", "j", "e", "pi"} and not letters & others & {"i"} else None
    return {}


def _letters(node: Node) -> set[str]:
    return grammar.names(node) - {"e", "i", "pi"}


def _is_undone(trees: list[Node]) -> bool:
    """Whether a sum or integral is left to be worked out."""
    return any(_contains(tree, BINDERS) for tree in trees)


def _contains(node: Any, operations) -> bool:  # type: ignore[no-untyped-def]
    if not isinstance(node, tuple):
        return False
    return node[0] in operations or any(_contains(part, operations) for part in node[1:])


def _is_piecewise(node: Any) -> bool:
    if not isinstance(node, tuple):
        return False
    if (node[0] == "mod" or (node[0] == "call" and node[1] in OF_NUMBERS_ONLY)) and _letters(node):
        return True
    return any(_is_piecewise(part) for part in node[1:])


def _counts(node: Any) -> set[str]:
    """The letters in the bounds of sums and products."""
    if not isinstance(node, tuple):
        return set()
    own = _letters(node[2]) | _letters(node[3]) if node[0] in ("sum", "prod") else set()
    return own.union(*(_counts(part) for part in node[1:]))


def _all_points(gold: Node, answer: Node, known: dict[str, Any], same) -> bool:  # type: ignore[no-untyped-def]
    """Whether the values are the same at all points where both are real, and those are enough."""
    if _is_piecewise(gold) or _is_piecewise(answer):
        return False
    letters = sorted((_letters(gold) | _letters(answer)) - known.keys())
    counts = _counts(gold) | _counts(answer)
    near = SAME_INTEGRALS if _contains(gold, ("int",)) or _contains(answer, ("int",)) else SAME
    num_same = num_outside = 0
    steps = [MAX_STEPS]
    for trial in range(NUM_POINTS if letters else 1):
        point = Point(known | _point(letters, counts, trial), steps)
        pair = [point.value_or_none(tree) for tree in (gold, answer)]
        if steps[0] <= 0:
            return False
        if None in pair:
            continue
        if _same_parts(pair[0], pair[1], near, same):
            num_same += 1
        elif letters and point.is_outside and "i" not in grammar.names(gold) | grammar.names(answer):
            num_outside += 1
        else:
            return False
    return num_same >= (LEAST_POINTS if letters else 1) and num_outside <= NUM_POINTS - POSITIVE_POINTS


def _same_parts(gold: Any, answer: Any, near: float, same) -> bool:  # type: ignore[no-untyped-def]
    if isinstance(gold, list) is not isinstance(answer, list):
        return False
    pairs = list(zip(gold, answer, strict=False)) if isinstance(gold, list) else [(gold, answer)]
    return (not isinstance(gold, list) or len(gold) == len(answer)) and all(same(a, b, near) for a, b in pairs)


def _point(letters: list[str], counts: set[str], trial: int) -> dict[str, Any]:
    """A value for each letter; the first trials are positive in every one."""
    found: dict[str, Any] = {}
    for at, letter in enumerate(letters):
        text = (
            POINTS[(trial + at) % POSITIVE_POINTS]
            if trial < POSITIVE_POINTS
            else POINTS[(trial + 3 * at) % len(POINTS)]
        )
        found[letter] = COUNTS[(trial + at) % len(COUNTS)] if letter in counts else arithmetic().mpf(text) + at // 7
    return found
