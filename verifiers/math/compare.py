"""Are a gold answer and a final answer the same? Exact and cheap first, symbolic last."""

import re
from enum import Enum, auto

from rdistill.verifiers.math import symbolic
from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.parts import Group, split_group, split_relation, strip_prefix, strip_unit
from rdistill.verifiers.math.quantity import parse_quantity, same_quantity

MAX_ITEMS = 50
CLOCK = re.compile(r"\b[0-9]{1,2}:[0-9]{2}\b")
BASE = re.compile(r"[0-9]\s*_")
WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 ,.;:'\"()/&-]*")
PROSE = re.compile(r"[A-Za-z]{2,}|\b[aAI]\b")
FUNCTION_NAMES = """
sin cos tan cot sec csc log ln exp sqrt pi arcsin arccos arctan frac max min mod inf infinity nan oo dx dy dz dt
"""
FUNCTIONS = frozenset(FUNCTION_NAMES.split())
CHOICE = re.compile(r"\(?([A-J])(?:[).:]\s*.*|\)?)", re.DOTALL)
NUMBERS = re.compile(r"(?<![A-Za-z0-9_])[0-9][0-9,]*(?:\.[0-9]+)?")
TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,;:!?'\"()]")
ARTICLES = frozenset(("the", "a", "an"))


class Outcome(Enum):
    EQUAL = auto()
    DIFFERENT = auto()
    AMBIGUOUS = auto()
    UNREADABLE = auto()
    TOO_COMPLEX = auto()


def is_readable(gold: str) -> bool:
    """Whether a gold answer can be compared with at all."""
    cleaned = clean(gold)
    return bool(cleaned) and cleaned.lower() not in ("nan", "none", "null", "undefined")


def compare(gold: str, answer: str) -> Outcome:
    """Compare two answers as written."""
    left, right = clean(gold), clean(answer)
    if left is None:
        return Outcome.TOO_COMPLEX
    if not right:
        return Outcome.UNREADABLE
    bare_left, bare_right = strip_prefix(left), strip_prefix(right)
    if "=" in bare_left or "=" in bare_right:  # an equation is compared whole
        return compare_clean(bare_left if "=" in bare_left else left, bare_right if "=" in bare_right else right)
    return compare_clean(bare_left, bare_right)


def compare_clean(gold: str, answer: str) -> Outcome:
    wanted, given = parse_quantity(gold), parse_quantity(answer)
    if wanted is not None and given is not None:
        return _decided(same_quantity(wanted, given))
    if gold.lower() == "nan" or answer.lower() == "nan":
        return Outcome.DIFFERENT
    if squash(gold) == squash(answer):
        return Outcome.EQUAL
    if match := CHOICE.fullmatch(gold):
        other = CHOICE.fullmatch(answer)
        return _decided(other is not None and other[1] == match[1])
    if (relation := split_relation(gold)) and (other := split_relation(answer)):
        if relation[1] != other[1]:
            return Outcome.DIFFERENT if squash(relation[0]) == squash(other[0]) else compare_symbolic(gold, answer)
        sides = _all([compare_clean(relation[0], other[0]), compare_clean(relation[2], other[2])])
        return sides if sides is Outcome.EQUAL else compare_symbolic(gold, answer)
    left, right = (None if is_words(text) else split_group(text) for text in (gold, answer))
    if left or right:
        return compare_groups(gold, left, answer, right)
    if is_words(gold) or ("\\" not in gold and wanted is None and has_words(gold)):
        return _decided(same_words(gold, answer))
    gold, answer = strip_unit(gold), strip_unit(answer)
    if is_words(answer) or has_words(answer):
        return from_prose(gold, answer)
    if BASE.search(gold + " " + answer) or CLOCK.search(gold + " " + answer):
        return Outcome.DIFFERENT
    return compare_symbolic(gold, answer)


def _decided(equal: bool) -> Outcome:
    return Outcome.EQUAL if equal else Outcome.DIFFERENT


# Words


def has_words(text: str) -> bool:
    """Whether it holds words that are neither LaTeX commands nor functions."""
    plain = re.sub(r"\\(?:begin|end)\{[a-z]+\}|\\[A-Za-z]+", " ", text)
    return any(len(word) > 1 and word.lower() not in FUNCTIONS and len(set(word)) > 1 for word in PROSE.findall(plain))


def is_words(text: str) -> bool:
    return WORDS.fullmatch(text) is not None and has_words(text)


def same_words(gold: str, answer: str) -> bool:
    return _plain_words(gold) == _plain_words(answer)


def _plain_words(text: str) -> list[str]:
    return [w for w in TOKEN.findall(text.lower()) if w not in ARTICLES]


def from_prose(gold: str, answer: str) -> Outcome:
    """A sentence as the answer to a number: right if it holds just one number, and that is it."""
    wanted = parse_quantity(gold)
    if wanted is None:
        return Outcome.UNREADABLE
    tail = answer.rpartition("=")[2].strip() if "=" in answer else answer
    if (number := parse_quantity(tail)) is not None:
        return _decided(same_quantity(wanted, number))
    if re.search(r"[+*^\\<>]|\bnot\b|n't\b", tail):
        return Outcome.UNREADABLE
    found = [(m.start(), m[0]) for m in NUMBERS.finditer(tail)]
    if len(found) != 1:
        return Outcome.AMBIGUOUS if found else Outcome.DIFFERENT
    start = found[0][0]
    while start > 0 and tail[start - 1] in "-$€£+":
        start -= 1
    number = parse_quantity(tail[start:].strip())
    return Outcome.UNREADABLE if number is None else _decided(same_quantity(wanted, number))


# Groups


def compare_groups(gold: str, left: Group | None, answer: str, right: Group | None) -> Outcome:
    if left is None:
        assert right is not None
        given = {squash(item) for item in right.items}
        if len(given) == 1:
            return compare_clean(gold, right.items[0])
        if has_words(answer) and "\\" not in answer and right.brackets == "" and " or " not in answer:
            return from_prose(gold, answer)
        return Outcome.AMBIGUOUS if right.brackets == "" else Outcome.DIFFERENT
    if right is None:
        return compare_clean(left.items[0], answer) if len(left.items) == 1 else Outcome.DIFFERENT
    if len(left.items) != len(right.items) or len(left.items) > MAX_ITEMS:
        return Outcome.DIFFERENT if len(left.items) != len(right.items) else Outcome.TOO_COMPLEX
    if not _same_brackets(left.brackets, right.brackets, len(left.items)):
        return Outcome.DIFFERENT
    if {left.brackets, right.brackets} <= {"", "{}", "\\cup"}:
        return match_any_order(left.items, right.items)
    return _all([compare_clean(a, b) for a, b in zip(left.items, right.items, strict=True)])


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
    return Outcome.EQUAL


def _all(outcomes: list[Outcome]) -> Outcome:
    for outcome in (Outcome.DIFFERENT, Outcome.UNREADABLE, Outcome.AMBIGUOUS, Outcome.TOO_COMPLEX):
        if outcome in outcomes:
            return outcome
    return Outcome.EQUAL


# Expressions


def compare_symbolic(gold: str, answer: str) -> Outcome:
    """Ask math-verify, where that is safe and cheap enough to try."""
    if not symbolic.is_simple(gold) or not symbolic.is_simple(answer):
        return Outcome.TOO_COMPLEX
    equal = symbolic.is_equal(*(as_fraction(text) for text in (gold, answer)))
    return Outcome.UNREADABLE if equal is None else _decided(equal)


def as_fraction(text: str) -> str:
    """A number in one form that cannot be misread ("1 1/2"); anything else as it is."""
    quantity = parse_quantity(text)
    if quantity is None or quantity.decimals is not None:
        return text
    value = quantity.value / 100 if quantity.percent else quantity.value
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
