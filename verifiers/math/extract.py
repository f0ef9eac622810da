"""Where the final answer stands in a reply. Linear scans only: the text may be a megabyte of anything."""

import re

from rdistill.verifiers.math.clean import clean, squash
from rdistill.verifiers.math.number import DECIMAL
from rdistill.verifiers.math.parts import RATIO_NAME
from rdistill.verifiers.math.quantity import parse_quantity, same_quantity

MAX_WHOLE = 300
MAX_DECLARED = 20
TAIL_LINES = 3
PHRASES = ("answer is", "answer:", "answer =", "answers are", "answer**:", "answer:**", "result is")
LINE_STARTS = ("a:", "ans:", "result:")
NUMBER = re.compile(
    rf"(?<![\w.,])(?:(?<![-+*/^)\w])-\s?)?(?:US\$|[$€£])?\s?(?:(?<=[$€£])-)?{DECIMAL}(?:\s?/\s?[0-9]+(?!\w|\.[0-9]))?(?:\s?\\?%)?"
)
MATHS = re.compile(r"(?:\$\$?|\\\(|\\\[)([^$]{1,300}?)(?:\$\$?|\\\)|\\\])")
LISTED = re.compile(r"\s*(?:,|;|and|or|,\s*and|,\s*or)\s*")
SENTENCE_END = re.compile(r"[.!](?:\s|$)")
PHRASE_AGAIN = re.compile(
    r"(?:the|so|thus|hence|therefore|my|our|final|correct|\W)*(?:answer is|answer:|answers are)", re.IGNORECASE
)
"""What follows "Final answer:" where it only leads to another "the answer is"."""
BETWEEN_BOXES = re.compile(r"(?:\s|\$|,|;|or\b|and\b|\\q?quad|\\[,;:()\[\] ]|\\text\s*\{\s*(?:or|and|,)?\s*\})*")
LIST_WORD = re.compile(r",|;|or|and")
MAX_BETWEEN = 40
NAME_BEFORE = re.compile(r"(?:(?<![A-Za-z\\])[A-Za-z]|\\[a-z]{2,7})(?:_\{\w{1,3}\}|_\w)?\s*=\s*$")
BOX = re.compile(r"\\{1,2}(?:boxed|fbox)\s{0,3}\{")
BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+(-?[0-9]+(?:[.,][0-9]+)*|[A-Za-z](?![A-Za-z]))")
FORMULA = re.compile(r"\\|\$\$|[<>]")
FOLLOWS = re.compile(r"\b(?:so|then|therefore|thus|hence|which|leaving|left|means|total|[+*/])\b", re.IGNORECASE)
HEDGE = re.compile(r"\b(?:or|either|alternatively|maybe|perhaps|possibly)\b", re.IGNORECASE)


DENIED = re.compile(r"(?:\b(?:not|never|cannot)|n't)(?: be| equal(?: to)?| exactly)?\W*$", re.IGNORECASE)


class Ambiguous(Exception):
    """The reply offers more than one final answer."""


def final_answer(text: str, gold: str, *, declared: bool) -> str | None:
    """The last box, else what follows "the answer is", else (declared) the text itself, else the last number.

    Raises: Ambiguous if boxes or phrases disagree, or the last line hedges.
    """
    if found := agreed(listed_boxes(text) or tagged(text), "boxes"):
        return found
    if not declared or len(text) > MAX_WHOLE:
        text = text.strip()
        if found := agreed(phrases(text), "declared answers"):
            return found
        if not declared and len(text) <= MAX_WHOLE and "\n" not in text and whole_fits(text, gold):
            return text
        return text if declared else last_number(text, gold)
    return phrases(text)[-1:][0] if phrases(text) else text


def agreed(found: list[str], what: str) -> str | None:
    """The last of them, if all say the same. Raises Ambiguous."""
    if not found:
        return None
    last = found[-1]
    if len(found) > MAX_DECLARED and len({squash(f) for f in found}) > 1:
        raise Ambiguous(f"{len(found)} {what}")
    for other in set(found[-MAX_DECLARED:-1]):
        if not alike(other, last):
            raise Ambiguous(f"two different {what}: {other[:60]!r} and {last[:60]!r}")
    return last


def alike(a: str, b: str) -> bool:
    left, right = clean(a), clean(b)
    if left is None or right is None or squash(left) == squash(right):
        return a == b or (left is not None and right is not None)
    numbers = parse_quantity(left), parse_quantity(right)
    return numbers[0] is not None and numbers[1] is not None and same_quantity(*numbers)


def listed_boxes(text: str) -> list[str]:
    """Contents of every box; those with only a comma, "and" or "or" between them as one list.

    "\\boxed{2} and \\boxed{3}" is "2, 3"; "x = \\boxed{2}, y = \\boxed{3}" is "x = 2, y = 3".
    """
    found: list[list[str]] = []
    text = BARE_BOX.sub(r"\\boxed{\1}", text)
    last_name, last_end = "", len(text)
    for opened, start, end in _box_spans(text):
        value = text[start:end].strip()
        match = NAME_BEFORE.search(text[max(0, opened - MAX_BETWEEN) : opened])
        name = match[0] if match else ""
        between = text[last_end + 1 : opened].removesuffix(name)
        if found and len(between) <= MAX_BETWEEN and BETWEEN_BOXES.fullmatch(between) and LIST_WORD.search(between):
            if len(found[-1]) == 1:
                found[-1][0] = last_name + found[-1][0]
            found[-1] += [" or " if "or" in between else ", ", name + value]
        else:
            found.append([value])
        last_name, last_end = name, end
    return ["".join(parts) for parts in found]


def _box_spans(text: str) -> list[tuple[int, int, int]]:
    """(where it opens, where its contents start and end) of every closed, outermost \\boxed{...} or \\fbox{...}."""
    found: list[tuple[int, int, int]] = []
    starts: list[tuple[int, int, int]] = []  # of open boxes: (where it opens, start of contents, brace depth)
    depth = at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            if match := BOX.match(text, at):
                starts.append((at, match.end(), depth))
                depth += 1
            at = match.end() if match else at + 2
            continue
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if starts and starts[-1][2] == depth:
                opened, start, _ = starts.pop()
                if not starts:
                    found.append((opened, start, at))
        at += 1
    return found


def tagged(text: str) -> list[str]:
    """What stands in the last <answer> tags."""
    head, tag, _ = text.rpartition("</answer>")
    inner = head.rpartition("<answer>") if tag else ("", "", "")
    return [inner[2].strip()] if inner[1] else []


def phrases(text: str) -> list[str]:
    """What follows "the answer is", "Answer:", or "A:" at the start of a line."""
    lower = text.lower() if text.isascii() else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    spots: list[int] = []
    for phrase in PHRASES:
        at = len(lower)
        for _ in range(MAX_DECLARED + 1):
            if (at := lower.rfind(phrase, 0, at)) < 0:
                break
            spots.append(at + len(phrase))
    start = 0
    for line in lower.split("\n"):
        for mark in LINE_STARTS:
            if line.startswith(mark) and not RATIO_NAME.match(line):
                spots.append(start + len(mark))
        start += len(line) + 1
    answers = [_sentence(text, spot) for spot in sorted(set(spots))[-MAX_DECLARED - 1 :]]
    return [a for a in answers if a and not PHRASE_AGAIN.match(a)]


def _sentence(text: str, start: int) -> str:
    """The rest of the sentence; of the next line, where the phrase ended its own."""
    tail = text[start : start + 2 * MAX_WHOLE].lstrip(" :=*\t")
    line = tail.lstrip("\n").split("\n", 1)[0]
    if end := SENTENCE_END.search(line):
        line = line[: end.start()]
    return line.strip().strip("*").strip()


def whole_fits(text: str, gold: str) -> bool:
    """Whether a short text is itself an answer: a quantity, or not a sentence with a number that ends it."""
    cleaned = clean(text)
    if cleaned is None or parse_quantity(cleaned) is not None:
        return True
    wanted = clean(gold)
    if wanted is None or parse_quantity(wanted) is None:
        return not _has_outer_words(text)
    return not _has_outer_words(text) and len(_words(cleaned)) < 3


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]+", " ", text))


def _has_outer_words(text: str) -> bool:
    """Whether words stand around a formula, as in "Answer: $x^2$" (but not in "$6$ units")."""
    return bool(MATHS.search(text)) and bool(_words(MATHS.split(text)[0]))


def last_number(text: str, gold: str) -> str | None:
    """The last number of the last lines that hold one; for a gold that is no number, the last line."""
    lines = [line for line in text[-20_000:].split("\n") if line.strip()][-TAIL_LINES:]
    wanted = clean(gold)
    if wanted is None or parse_quantity(wanted) is None:
        if found := [joined for line in lines if (joined := last_formulas(line))]:
            return found[-1]
        return lines[-1].strip() if lines and len(lines[-1]) <= MAX_WHOLE else None
    if lines and (last := clean(lines[-1])) and parse_quantity(last) is not None:
        return lines[-1].strip()
    for line in reversed(lines):
        matches = list(NUMBER.finditer(line))
        numbers = [m[0].strip() for m in matches]
        if not numbers:
            continue
        if DENIED.search(line, max(0, matches[-1].start() - MAX_BETWEEN), matches[-1].start()):
            raise Ambiguous(f"the last line says what it is not: {numbers[-1]!r}")
        formulas = [m for m in MATHS.finditer(line) if FORMULA.search(m[0])]
        if formulas and not re.search(r"[0-9]", line[formulas[-1].end() :]):
            return formulas[-1][1].strip()
        if HEDGE.search(line) and len(numbers) > 1 and "=" not in line and not alike(numbers[-1], numbers[-2]):
            raise Ambiguous(f"the last line offers {numbers[-2]!r} and {numbers[-1]!r}")
        return after_equals(line) or numbers[-1]
    return None


def last_formulas(line: str) -> str | None:
    """The last formula of a line, with those before it that it is listed with: "$x=5$ and $x=-2$"."""
    found = list(MATHS.finditer(line))
    if not found:
        return None
    first = len(found) - 1
    while first and LISTED.fullmatch(line, found[first - 1].end(), found[first].start()):
        first -= 1
    return ", ".join(m[1].strip() for m in found[first:])


def after_equals(line: str) -> str | None:
    """The result of a sum that ends a sentence: 5 in "it takes 120 / 24 = 5 hours to read 120 pages"."""
    head, sign, tail = line.rpartition("=")
    if not sign or not NUMBER.search(head) or FOLLOWS.search(tail):
        return None
    found = NUMBER.search(tail)
    return found[0].strip() if found and not _words(tail[: found.start()]) else None
