"""What a reply declares as its answer ("the answer is", "Answer:", also in other languages), and what it takes back.

A disowned answer ("wrong answer: 4", "this is not the final answer: 4", "4 would be wrong") is none.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from rdistill.verifiers.math.parts import RATIO_NAME

MAX_WHOLE = 300
MAX_DECLARED = 20
MAX_BEFORE = 60
MAX_AFTER = 600
PHRASES = (
    "answer is", "answer:", "answer =", "answers are", "answer**:", "answer:**", "result is",
    "antwort ist", "antwort lautet", "antwort:", "respuesta es", "respuesta final es", "respuesta:", "risposta:",
    "resposta:", "antwoord is", "antwoord:",
)  # fmt: skip
FOREIGN_PHRASES = (
    "réponse est", "réponse finale est", "réponse:", "réponse :", "risposta è", "resposta é", "ответ:", "ответ -",
    "ответ —", "ответ –", "答案是", "答案为", "答案為", "答案:", "答案：", "答えは", "答え:", "答え：",
    "정답은", "답은", "정답:", "답:",
)  # fmt: skip
"""Looked for in text that is not ASCII."""
LINE_STARTS = ("a:", "ans:", "result:")
SENTENCE_END = re.compile(r"[.!](?:\s|$)|[。！]")
PHRASE_AGAIN = re.compile(
    r"(?:the|so|thus|hence|therefore|my|our|final|correct|\W)*(?:answer is|answer:|answers are)", re.IGNORECASE
)
"""What follows "Final answer:" where it only leads to another "the answer is"."""

NEGATIONS = r"\b(?:not|never|cannot|nicht|kein|keine|pas|non|niet|не|no es|não é)\b|n['’]t\b|不是|不等于|ではない"
WHOSE = r"(?:the|my|our|your|an?|its|die|la|el|le|il|a|o)"
KIND = r"(?:final|correct|right|real|actual|true|best|intended|expected|richtige|endgültige|final)"
WRONG = (
    r"\b(?:wrong|incorrect|false|mistaken|erroneous|invalid|rejected|discarded|tempting|na[iï]ve|previous|initial|earlier"
    r"|old|falsche|неверный|неправильный)\b|错误的?|错的|不正确的?"
)
DISOWNED = re.compile(
    rf"(?:(?:{NEGATIONS}|\bno\b)\s*(?:be\s+)?(?:{WHOSE}\s+)?(?:{KIND}\s+|最终的?|正确的?)*|(?:{WRONG})\s*(?:final\s+)?)$",
    re.IGNORECASE,
)
"""Just before "answer is"."""
DENIED = re.compile(
    rf"(?:(?:{NEGATIONS})(?: be| equal(?: to)?| exactly)?"
    rf"|(?:{WRONG})\s*(?:final\s+)?(?:answer|value|result|guess|solution|choice|答案)"
    r"(?:\s+(?:is|was|would be))?)\W*$",
    re.IGNORECASE,
)
"""Just before a value."""
ANSWER_KIND = rf"(?:(?:{WHOSE}|{KIND})\s+)*(?:answer|result|solution|value|correct|right|true|it\b)"
IS_WRONG = (
    r"(?:(?:is|was|are|were|be|would be|would have been|must be|seems|looks)"
    r"(?:\s+(?:actually|clearly|also|in fact|obviously))*"
    rf"\s+(?:(?:an?|the)\s+)?(?:wrong|incorrect|mistaken|erroneous|not\s+{ANSWER_KIND})"
    rf"|(?:is|was|are|would|ca|could)(?:n['’]t|not)\s+(?:be\s+)?{ANSWER_KIND}|cannot be\s+{ANSWER_KIND})"
)
WRONG_AFTER = re.compile(rf"[^A-Za-z0-9]*(?:[A-Za-z]+\s+)?{IS_WRONG}", re.IGNORECASE)
"""Just after a value."""
RETRACTED = re.compile(
    rf"\b(?:this|that|it|which|the (?:above|answer|result|box))\s+{IS_WRONG}|\bscratch that\b|\bon second thought\b"
    r"|\b(?:ignore|disregard|forget) (?:that|this|it|the (?:last|latter|second))\b"
    r"|\bthe (?:first|former|earlier|previous)(?: (?:one|answer|value|box|result))?"
    r" (?:is|was) (?:right|correct|better|fine)"
    r"|\bI (?:was wrong|made (?:a mistake|an error))|(?:^|[.!?}$\n])\s*(?:wait|correction|hold on)\b",
    re.IGNORECASE,
)


class Stated(NamedTuple):
    """A value and where it stands in the reply, what frames it included; `is_answer`: it is called the answer."""

    text: str
    start: int
    end: int
    is_answer: bool = False


class Ambiguous(Exception):
    """The reply offers more than one final answer, or takes back the one it offers."""


def declared_answers(text: str) -> list[Stated]:
    """What follows "the answer is", "Answer:", or "A:" at the start of a line, but for what is disowned.

    Raises: Ambiguous if all of it is disowned.
    """
    spots = _spots(text)
    kept = [(spot, start) for spot, start in spots if not DISOWNED.search(text[max(0, start - MAX_BEFORE) : start])]
    if spots and not kept:
        raise Ambiguous(f"the declared answer is disowned: {_sentence(text, spots[-1][0])[:60]!r}")
    answers = [(_sentence(text, spot), spot, start) for spot, start in kept]
    return [
        Stated(answer, start, max(spot, text.find(answer, spot)) + len(answer), is_answer=True)
        for answer, spot, start in answers
        if answer and not PHRASE_AGAIN.match(answer)
    ]


def check_last_word(text: str, start: int, end: int, is_same: Callable[[str], bool]) -> None:
    """Raises Ambiguous if the value between start and end is disowned, or another answer is declared after it."""
    check_not_disowned(text, start, end)
    for spot, before in _spots(text[end:]):
        later = _sentence(text[end:], spot)
        is_disowned = DISOWNED.search(text[max(0, end + before - MAX_BEFORE) : end + before])
        if later and not is_disowned and not PHRASE_AGAIN.match(later) and not is_same(later):
            raise Ambiguous(f"{text[start:end][:60]!r}, and later {later[:60]!r}")


def _spots(text: str) -> list[tuple[int, int]]:
    """(end, start) of the last phrases."""
    is_ascii = text.isascii()
    if is_ascii and not any(char.isalpha() for char in text):
        return []  # a bare number, as most answers are
    lower = text.lower() if is_ascii else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    spots: dict[int, int] = {}
    for phrase in PHRASES if is_ascii else PHRASES + FOREIGN_PHRASES:
        at = len(lower)
        for _ in range(MAX_DECLARED + 1):
            if (at := lower.rfind(phrase, 0, at)) < 0:
                break
            spots[at + len(phrase)] = at
    start = 0
    for line in lower.split("\n"):
        for mark in LINE_STARTS:
            if line.startswith(mark) and not RATIO_NAME.match(line):
                spots[start + len(mark)] = start
        start += len(line) + 1
    return sorted(spots.items())[-MAX_DECLARED - 1 :]


def _sentence(text: str, start: int) -> str:
    """The rest of the sentence; of the next line, where the phrase ended its own."""
    tail = text[start : start + 2 * MAX_WHOLE].lstrip(" :：=*\t")
    line = tail.lstrip("\n").split("\n", 1)[0]
    if end := SENTENCE_END.search(line):
        line = line[: end.start()]
    return line.strip().strip("*").strip()


def check_not_disowned(text: str, start: int, end: int) -> None:
    """Raises Ambiguous if the value between start and end is denied just before, just after or later."""
    if DENIED.search(text[max(0, start - MAX_BEFORE) : start].rstrip("$([{\\ ")) or WRONG_AFTER.match(text, end):
        raise Ambiguous(f"it says what the answer is not: {text[start:end][:60]!r}")
    if found := RETRACTED.search(text, end, end + MAX_AFTER):
        raise Ambiguous(f"the answer is taken back: {found[0].strip()[:60]!r}")
