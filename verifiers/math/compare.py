"""Are a gold answer and a final answer the same? Exact and cheap first, symbolic last."""

import re
from enum import Enum, auto

from rdistill.verifiers.math import symbolic, texts, values
from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.declared import NEGATIONS
from rdistill.verifiers.math.intervals import is_condition, read_range
from rdistill.verifiers.math.parts import (
    INEQUALITY,
    NAMED,
    RATIO_NAME,
    Group,
    split_group,
    split_relation,
    strip_prefix,
    strip_unit,
)
from rdistill.verifiers.math.quantity import parse_quantity, read_beside, same_quantity
from rdistill.verifiers.math.relations import say_the_same
from rdistill.verifiers.math.sets import same_sets
from rdistill.verifiers.math.spelling import COMBINATIONS
from rdistill.verifiers.math.texts import has_words, is_words, same_words
from rdistill.verifiers.math.units import factors

MAX_ITEMS, MAX_SPELLINGS = 50, 3
NUMBERS = re.compile(r"(?<![A-Za-z0-9_.])(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)")
BEFORE = "-$€£+"
VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
NO_LETTERS = re.compile(r"\\[A-Za-z]+|[A-Za-z]{3,}")
TURNING = re.compile(r"\\pi(?![a-z])|(?:sin|cos|tan|cot|sec|csc|rad|minutes?|seconds?)(?![a-z])|[CF]\b")
"""Beside these a number of degrees is not that number."""
INNER_DEGREES = re.compile(r"\s*degrees")
MODULUS = re.compile(r"(?<=[0-9])\s*\(?\s*\\?p?mod\s*\{?[0-9]+\}?\s*\)?$")
VECTOR_SHAPE = re.compile(r"matrix (?:[0-9]+|1(?:x1)+)")
SHAPE = re.compile(r"[A-Z]{3,}|[IVX]{2,}")
"""The corners of a figure in order, a Roman number: no product."""
BOUND = re.compile(
    r"(?:least|most|than|under|over|below|above|between|almost|nearly|up to|beyond|likely|close to)\s*$", re.IGNORECASE
)
"""What turns the number after it into a limit or a guess."""
UNSURE = re.compile(
    rf"[+*^\\<>?]|{NEGATIONS}|\b(?:wrong|incorrect|maybe|perhaps|possibly|probably|I (?:think|guess))\b"
    r"|[0-9]-?ish\b|\bat (?:the )?(?:least|most)$",
    re.IGNORECASE,
)


ONE_VALUE = re.compile(r"[A-Za-z]\s*=[^=<>]*")
AND_OR = re.compile(r"\b(?:and|or)\b")
STATED = re.compile(r"([A-Za-z ,']*)\b(?:is|are|equals)\s+(.+)")


class Outcome(Enum):
    EQUAL = auto()
    DIFFERENT = auto()
    AMBIGUOUS = auto()
    UNREADABLE = auto()
    TOO_COMPLEX = auto()


def is_readable(gold: str) -> bool:
    """Whether a gold answer can be compared with at all."""
    cleaned = clean(gold)
    return bool(cleaned) and cleaned.lower() not in ("nan", "null")


def compare(gold: str, answer: str) -> Outcome:
    """Compare two answers as written."""
    left, right = clean(gold), clean(answer)
    if left is None:
        return Outcome.TOO_COMPLEX
    if not right:
        return Outcome.UNREADABLE
    wanted, given = parse_quantity(left), parse_quantity(right)
    if wanted is not None and given is not None:  # the fast path, ahead of names, sets and equations
        return _decided(same_quantity(wanted, given))
    left, right = without_modulus(*without_degrees(left, right))
    if same_sets(left, right):
        return Outcome.EQUAL
    ratios = [squash(m[1]) for text in (left, right) if (m := RATIO_NAME.match(text))]
    if len(ratios) == 2 and ratios[0] != ratios[1]:
        return Outcome.DIFFERENT  # AB:CD = 2 is not CD:AB = 2
    if names_differ(left, right):
        return Outcome.DIFFERENT  # x = 5 is not y = 5
    if "=" in right and squash(left) != squash(right) and values.is_false_chain(right):
        return Outcome.DIFFERENT  # 7 + 1 = 42 is not 42
    bare_left, bare_right = strip_prefix(left), strip_prefix(right)
    if "=" in left and "=" in right and renamed(left, right, bare_left, bare_right):
        return compare_clean(left, right)
    if any(INEQUALITY.search(a) and ONE_VALUE.fullmatch(b) for a, b in ((left, right), (right, left))):
        return compare_clean(left, right)  # x >= 4 and x <= 4 is x = 4
    if "=" in bare_left or "=" in bare_right:  # an equation is compared whole
        left, right = (b if "=" in b or w[:1] == "(" else w for b, w in ((bare_left, left), (bare_right, right)))
        return compare_clean(left, right)
    return compare_clean(bare_left, bare_right)


def without_degrees(gold: str, answer: str) -> tuple[str, str]:
    """Both without the degrees inside of sums, 180 degrees - x, where nothing turns on them."""
    if " degrees" not in gold and " degrees" not in answer:
        return gold, answer
    both = f"{gold} {answer}"
    if TURNING.search(both) or all(parse_quantity(text) for text in (gold, answer)):
        return gold, answer
    return INNER_DEGREES.sub("", gold), INNER_DEGREES.sub("", answer)


def without_modulus(gold: str, answer: str) -> tuple[str, str]:
    """6 for 6 (mod 7), where the other names no modulus."""
    return (gold, MODULUS.sub("", answer)) if "mod" in answer and "mod" not in gold else (gold, answer)


def names_differ(left: str, right: str) -> bool:
    """Whether two values have names that contradict each other: x and y, f(x) and g(x); not y and f(x), x and x_1.

    Where one text tells of the other's name it may be the same equation, solved for another letter.
    """
    found = NAMED.match(left), NAMED.match(right)
    for kind in (1, 2):
        a, b = (squash(m[kind] or "").lower() if m else "" for m in found)
        (head, _, index), (other, _, other_index) = a.partition("_"), b.partition("_")
        if a and b and (head != other or (index and other_index and index != other_index)):
            return a not in NO_LETTERS.sub("", right).lower() and b not in NO_LETTERS.sub("", left).lower()
    return False


def renamed(left: str, right: str, bare_left: str, bare_right: str) -> bool:
    """Whether two assignments are for different names and hold each other's: b = 2a, a = b/2."""
    names = [whole.removesuffix(bare).rstrip(" =") for whole, bare in ((left, bare_left), (right, bare_right))]
    is_short = all(len(name) == 1 for name in names) and names[0] != names[1]
    return is_short and names[0] in bare_right and names[1] in bare_left


def compare_clean(gold: str, answer: str) -> Outcome:
    wanted, given = parse_quantity(gold), parse_quantity(answer)
    wanted, given = wanted or read_beside(gold, given), given or read_beside(answer, wanted)
    if wanted is not None and given is not None:
        return _decided(same_quantity(wanted, given))
    if gold.lower() == "nan" or answer.lower() == "nan":
        return Outcome.DIFFERENT
    gold, answer = texts.canonical(gold), texts.canonical(answer)
    if squash(gold) == squash(answer):
        return Outcome.EQUAL
    if SHAPE.fullmatch(gold) and SHAPE.fullmatch(answer):
        return Outcome.DIFFERENT
    if (letters := texts.choices(gold)) and (
        (other := texts.choices(answer) or texts.small_choice(answer)) or len(gold) <= len(letters) + 2
    ):
        return _decided(other == letters or (not other and values.agree(gold, answer)))
    if (same := texts.same_special(gold, answer)) is not None:
        return _decided(same)
    outcome = first_outcome(gold, answer)
    return Outcome.EQUAL if outcome is not Outcome.EQUAL and values.agree(gold, answer) else outcome


def first_outcome(gold: str, answer: str) -> Outcome:
    for decide in (compare_ratios, compare_relations, compare_groups, compare_words):
        if (outcome := decide(gold, answer)) is not None:
            return outcome
    return compare_symbolic(gold, answer)


def _decided(equal: bool) -> Outcome:
    return Outcome.EQUAL if equal else Outcome.DIFFERENT


def compare_ratios(gold: str, answer: str) -> Outcome | None:
    """Ratios of three parts or more, times with seconds; None where neither is one."""
    left, right = texts.ratio_parts(gold), texts.ratio_parts(answer)
    if left is None or right is None:
        return None if left is right or has_words(answer if left else gold) else Outcome.DIFFERENT
    if len(left) != len(right):
        return Outcome.DIFFERENT
    if (same := texts.same_ratio(left, right)) is not None:
        return _decided(same)
    return _all([compare_clean(a, b) for a, b in zip(left, right, strict=True)])


# Sets of real numbers, inequalities


def compare_ranges(gold: str, answer: str) -> Outcome | None:
    """Intervals and conditions on one variable, where at least one is a condition; None for anything else."""
    if not is_condition(gold) and not is_condition(answer):
        return None
    left, right = read_range(gold), read_range(answer)
    if left is None or right is None:
        return None
    if left.variable and right.variable and left.variable != right.variable:
        return Outcome.DIFFERENT
    return match_any_order([f"{s.left}{s.low},{s.high}{s.right}" for s in left.spans],
                           [f"{s.left}{s.low},{s.high}{s.right}" for s in right.spans])  # fmt: skip


def compare_relations(gold: str, answer: str) -> Outcome | None:
    """Inequalities, and equations of which one lists alternatives: x^2 = 4, x = 2 or x = -2."""
    outcome = compare_ranges(gold, answer)
    if outcome is not Outcome.EQUAL and (same := say_the_same(gold, answer)) is not None:
        return _decided(same)
    left, right = split_relation(gold), split_relation(answer)
    if outcome or left is None or right is None:
        return outcome
    if left[1] != right[1]:
        return Outcome.DIFFERENT
    return _all([compare_clean(left[0], right[0]), compare_clean(left[2], right[2])])


# Words


def compare_words(gold: str, answer: str) -> Outcome | None:
    """Text, or a sentence as the answer to a number; None for two formulas."""
    if is_words(gold) or ("\\" not in gold and parse_quantity(gold) is None and has_words(gold)):
        return _decided(same_words(gold, answer))
    if is_words(answer) or has_words(strip_unit(answer)[0].replace("degrees", "")):
        return from_prose(gold, answer)
    return None


def from_prose(gold: str, answer: str) -> Outcome:
    """A sentence as the answer to a number: right if it holds just one, and that is it; to a formula: what it "is"."""
    wanted = parse_quantity(gold)
    if wanted is None:
        match = STATED.fullmatch(answer)
        if match is None or has_words(match[2]) or UNSURE.search(match[1]):
            return Outcome.UNREADABLE
        return compare_clean(gold, match[2])
    tail = answer.rpartition("=")[2].strip() if "=" in answer else answer
    if (number := parse_quantity(tail)) is not None:
        return _decided(same_quantity(wanted, number))
    if UNSURE.search(tail):
        return Outcome.UNREADABLE
    found = [(m.start(), m[0]) for m in NUMBERS.finditer(tail)]
    if len(found) != 1:
        return Outcome.AMBIGUOUS if found else Outcome.DIFFERENT
    start = found[0][0]
    while start > 0 and tail[start - 1] in BEFORE:
        start -= 1
    if BOUND.search(tail[:start]):
        return Outcome.UNREADABLE
    number = parse_quantity(tail[start:].strip())
    return Outcome.UNREADABLE if number is None else _decided(same_quantity(wanted, number))


# Groups


def compare_groups(gold: str, answer: str) -> Outcome | None:
    """Tuples, sets, lists, matrices; None where neither is one."""
    left, right = (None if is_words(AND_OR.sub(",", text)) else split_group(text) for text in (gold, answer))
    if (left is None) is not (right is None) and COMBINATIONS.fullmatch(gold if left else answer):
        return None  # C(10,3) is a point only beside another
    if (left is None and right is None) or (None in (left, right) and "matrix}" in gold and "matrix}" in answer):
        return None  # two expressions, or a sum of matrices beside a matrix
    if "\\emptyset" in (gold, answer):
        return Outcome.DIFFERENT  # it is no member of itself
    if left is None:
        return one_of_many(gold, answer, right) if right else None
    if right is None:
        return compare_clean(left.items[0], answer) if len(left.items) == 1 else Outcome.DIFFERENT
    if {left.brackets, right.brackets} == {"{}", "()"} and 1 in (len(left.items), len(right.items)):
        return compare_clean(*(g.items[0] if g.brackets == "{}" else t for g, t in ((left, gold), (right, answer))))
    if {left.brackets, right.brackets} == {"{}"} or (lists_points(left) and lists_points(right)):
        left, right = distinct(left), distinct(right)
    if len(left.items) != len(right.items) or len(left.items) > MAX_ITEMS:
        return Outcome.DIFFERENT if len(left.items) != len(right.items) else Outcome.TOO_COMPLEX
    if not (are_vectors(left, right) or _same_brackets(left.brackets, right.brackets, len(left.items))):
        return Outcome.DIFFERENT
    if {left.brackets, right.brackets} <= {"", "{}", "\\cup"}:
        return match_any_order(left.items, right.items)
    return _all([compare_clean(a, b) for a, b in zip(left.items, right.items, strict=True)])


def one_of_many(gold: str, answer: str, given: Group) -> Outcome:
    """Several values where one is wanted."""
    if len(given.items) <= MAX_SPELLINGS and {compare_clean(gold, item) for item in given.items} == {Outcome.EQUAL}:
        return Outcome.EQUAL  # "1/2 or 0.5"
    if has_words(answer) and "\\" not in answer and given.brackets == "" and " or " not in answer:
        return from_prose(gold, answer)
    return Outcome.AMBIGUOUS if given.brackets == "" else Outcome.DIFFERENT


def are_vectors(left: Group, right: Group) -> bool:
    """Whether one is a matrix of one row or column, and the other (1, 2, 3) or [1, 2, 3]."""
    kinds = sorted((left.brackets, right.brackets))
    return kinds[0] in ("()", "[]") and bool(VECTOR_SHAPE.fullmatch(kinds[1]))


def lists_points(group: Group) -> bool:
    """Whether it is a bare list of tuples. Of numbers a list may hold one twice, as prime factors do."""
    return group.brackets == "" and all(item[:1] == "(" for item in group.items)


def distinct(group: Group) -> Group:
    """A set without what is written twice."""
    return group._replace(items=list({squash(item): item for item in group.items}.values()))


def _same_brackets(left: str, right: str, count: int) -> bool:
    if "=" in (left[:1], right[:1]):
        return left == right or left[:1] != right[:1]
    if left == right:
        return True
    if "" in (left, right):  # a bare list may stand for a tuple or set, never for a gold interval
        return (left or right) in ("()", "{}") or right == "[]"
    return count > 2 and {left, right} == {"()", "[]"}


def match_any_order(gold: list[str], answer: list[str]) -> Outcome:
    """Each gold item has an answer item of its own."""
    left = list(answer)
    doubt = False
    for item in gold:
        for at, other in enumerate(left):
            outcome = compare_clean(item, other)
            doubt = doubt or outcome is Outcome.TOO_COMPLEX
            if outcome is Outcome.EQUAL:
                del left[at]
                break
        else:
            return Outcome.TOO_COMPLEX if doubt else Outcome.DIFFERENT
    return Outcome.DIFFERENT if left else Outcome.EQUAL


def _all(outcomes: list[Outcome]) -> Outcome:
    for outcome in (Outcome.DIFFERENT, Outcome.UNREADABLE, Outcome.AMBIGUOUS, Outcome.TOO_COMPLEX):
        if outcome in outcomes:
            return outcome
    return Outcome.EQUAL


# Expressions


def compare_symbolic(gold: str, answer: str) -> Outcome:
    """Ask sympy, where that is safe and cheap enough to try."""
    if "_" in gold + answer and re.search(r"[0-9]\s*_", gold + " " + answer):
        return Outcome.DIFFERENT  # a number to a base, and the other is none
    gold, answer = texts.without_label(gold), texts.without_label(answer)
    (left, unit), (right, other) = strip_unit(gold), strip_unit(answer)
    if bool(unit) is not bool(other) or not VARIABLE.search(gold):  # beside a unit or a number, a letter may be one too
        (left, unit), (right, other) = strip_unit(gold, letters=True), strip_unit(answer, letters=True)
    if unit.startswith("rad") or other.startswith("rad"):
        unit, other = (
            unit.removeprefix("radians").removeprefix("rad"),
            other.removeprefix("radians").removeprefix("rad"),
        )
    scales = factors(unit, other)
    if scales is None or scales[0] != scales[1]:
        return Outcome.DIFFERENT
    if ("=" in left) is not ("=" in right):  # "(x+1)^2 = x^2+2x+1" is right where both sides are
        sides = right.split("=") if left.count("=") + right.count("=") == 1 and "=" in right else [""]
        return _all([compare_symbolic(left, side) if side.strip() else Outcome.DIFFERENT for side in sides])
    sides = [symbolic.expand_small(as_fraction(text)) for text in (left, right)]
    if "degree" in unit + other and any("\\pi" in side for side in sides):
        sides = [f"({s})\\cdot\\frac{{\\pi}}{{180}}" if u else s for s, u in zip(sides, (unit, other), strict=True)]
    if not all(symbolic.is_simple(side) for side in sides):
        return Outcome.TOO_COMPLEX
    equal = symbolic.is_equal(*sides)
    return Outcome.UNREADABLE if equal is None else _decided(equal)


def as_fraction(text: str) -> str:
    """A number in one form that cannot be misread ("1 1/2"); anything else as it is."""
    quantity = parse_quantity(text)
    if quantity is None or quantity.decimals is not None:
        return text
    value = quantity.value / 100 if quantity.percent else quantity.value
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
