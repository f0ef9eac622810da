"""Are a gold answer and a final answer the same? Exact and cheap first, symbolic last."""

import re
from enum import Enum, auto
from typing import NamedTuple

from rdistill.verifiers.math import symbolic
from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.quantity import parse_quantity, same_quantity

MAX_ITEMS = 50
OPEN, CLOSE = "([{", ")]}"
ASSIGNED = re.compile(r"(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]+\([a-z]\))\s*(?:=|\\in)(?!=)\s*")
PREFIX = re.compile(r"(?:approximately|approx\.?|about|around|roughly|exactly|\\approx|=)\s*", re.IGNORECASE)
WORDS = re.compile(r"[A-Za-z][A-Za-z0-9 ,.;:'\"()/&-]*")
PROSE = re.compile(r"[A-Za-z]{2,}|\b[aAI]\b")
FUNCTION_NAMES = """
sin cos tan cot sec csc log ln exp sqrt pi arcsin arccos arctan frac max min mod inf infinity nan oo dx dy dz dt
"""
FUNCTIONS = frozenset(FUNCTION_NAMES.split())
CHOICE = re.compile(r"\(?([A-J])(?:[).:]\s*.*|\)?)", re.DOTALL)
NUMBERS = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")
TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9.,;:!?'\"()]")
MATRIX = re.compile(r"\\begin\{([pbv]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
ARTICLES = frozenset(("the", "a", "an"))


class Outcome(Enum):
    EQUAL = auto()
    DIFFERENT = auto()
    AMBIGUOUS = auto()
    UNREADABLE = auto()
    TOO_COMPLEX = auto()


class Group(NamedTuple):
    """Several values: brackets "" for a bare list or alternatives, whose order does not matter."""

    brackets: str
    items: list[str]


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
    return compare_clean(strip_prefix(left), strip_prefix(right))


def strip_prefix(text: str) -> str:
    """Without "about", a leading "=" and one "x =" (an equation such as x + y = 3 keeps both sides)."""
    text = text[match.end() :] if (match := PREFIX.match(text)) else text
    match = ASSIGNED.match(text)
    return text[match.end() :] if match and not set("=<>") & set(text[match.end() :]) and text[match.end() :] else text


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
    left, right = split_group(gold), split_group(answer)
    if left or right:
        return compare_groups(gold, left, answer, right)
    if is_words(gold) or ("\\" not in gold and wanted is None and has_words(gold)):
        return _decided(same_words(gold, answer))
    if is_words(answer) or has_words(answer):
        return from_prose(gold, answer)
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


# Tuples, sets, intervals, alternatives


def split_group(text: str) -> Group | None:
    """Read several values in one answer, or None."""
    if text[:1] in OPEN and text[-1:] in CLOSE and _closes_at_end(text):
        items = split_top(text[1:-1])
        return Group(text[0] + text[-1], items) if len(items) > 1 or text[0] == "{" else None
    if match := MATRIX.fullmatch(text):
        rows = [row.split("&") for row in match[2].strip().removesuffix("\\\\").split("\\\\")]
        shape = "x".join(str(len(row)) for row in rows)
        return Group(f"matrix {shape}", [cell.strip() for row in rows for cell in row])
    if "\\pm" in text and text.count("\\pm") == 1:
        return Group("", [text.replace("\\pm", "+").removeprefix("+").strip(), text.replace("\\pm", "-")])
    if "\\cup" in text:
        return Group("\\cup", [t.strip() for t in text.split("\\cup")])
    alternatives = re.split(r"\s+or\s+|,\s*or\s+|\\lor|\\vee", text)
    if len(alternatives) > 1:
        return Group("", [strip_prefix(t.strip(" ,")) for t in alternatives])
    items = [t for part in split_top(text) for t in re.split(r"\s+and\s+", part) if t.strip()]
    if len(items) > 1 and not is_words(text) and parse_quantity(text) is None:
        return Group("", [strip_prefix(t.strip()) for t in items])
    return None


def _closes_at_end(text: str) -> bool:
    """Whether the first bracket is closed by the last character (brackets of intervals may differ)."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char in OPEN) - (char in CLOSE)
        if depth == 0:
            return at == len(text) - 1
    return False


def split_top(text: str) -> list[str]:
    """Split at commas outside brackets; "1,234" stays whole where it is a number."""
    items, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in OPEN) - (char in CLOSE)
        if depth == 0 and char in ",;" and not _is_thousands(text, at):
            items.append(text[start:at].strip())
            start = at + 1
    return [*items, text[start:].strip()]


def _is_thousands(text: str, at: int) -> bool:
    after = text[at + 1 : at + 5]
    return text[at - 1 : at].isdigit() and len(after) >= 3 and after[:3].isdigit() and not after[3:].isdigit()


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
    if left == right or ("" in (left, right) and not (left + right).startswith("matrix")):
        return True
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
    equal = symbolic.is_equal(gold, answer)
    return Outcome.UNREADABLE if equal is None else _decided(equal)
