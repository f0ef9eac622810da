"""The options of a multiple-choice question, and the gold answer among them."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

MAX_QUESTION = 50_000
LINE = re.compile(r"^[ \t]*(?:[-*][ \t]+)?\(?([A-Za-z])[).:][ \t]+(\S[^\n]*)$", re.MULTILINE)
INLINE = re.compile(r"\(([A-Za-z])\)[ \t]*([^()\n]+)")
LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*")
LETTER_TEXT = re.compile(r"[(\[]?([A-Za-z])[)\].:]+\s+(.+)", re.DOTALL)


class GoldError(ValueError):
    """The gold answer cannot be used; the message says why."""


class Options:
    """Option texts by letter; empty where nobody knows them. An option is called by the first letter of its text."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.shown = dict(zip(string.ascii_uppercase, texts, strict=False))
        if len(texts) > len(self.shown):  # too many for letters: each is called by its text
            self.shown = {normal(text): text for text in texts}
        self.texts = {key: normal(text) for key, text in self.shown.items()}
        self.key_of = {text: key for key, text in reversed(self.texts.items())}

    def letter(self, letter: str) -> str | None:
        """The option that a letter names, or None."""
        key = letter.upper()
        if not self.texts:
            return key
        return self.key_of[self.texts[key]] if key in self.texts else None

    def find(self, gold: str) -> str:
        """The option that a gold answer names; its normalised text where no options are known. Raises GoldError."""
        by_text = self.key_of.get(normal(gold))
        single = LETTER.fullmatch(gold.strip())
        by_letter = self.letter(single[1]) if single else None
        if by_text and by_letter and by_text != by_letter:
            raise GoldError(f"gold {gold!r} is the letter of one option and the text of another")
        if found := by_letter or by_text:
            return found
        prefixed = LETTER_TEXT.fullmatch(gold.strip())
        if prefixed and self.texts and self.key_of.get(normal(prefixed[2])) == self.letter(prefixed[1]) is not None:
            return self.key_of[normal(prefixed[2])]
        if self.texts or len(normal(gold)) < 2:
            raise GoldError(f"gold {gold[:80]!r} is none of the {len(self.texts)} options")
        return normal(prefixed[2] if prefixed else gold)

    def show(self, key: str) -> str:
        return f"{key} ({self.shown[key][:80]})" if len(key) == 1 and key in self.shown else repr(key[:80])


def split_gold(gold: Any) -> tuple[str, list[str]]:
    """A gold answer and the options that came with it: "C", "Paris", or {"answer": ..., "choices": [...]}."""
    choices: Any = []
    if isinstance(gold, dict) and {"answer", "choices"} == gold.keys():
        gold, choices = gold["answer"], gold["choices"]
    if not isinstance(gold, str) or not gold.strip():
        raise GoldError(f"gold is {str(gold)[:80]!r}, expected a letter or an option's text")
    if not isinstance(choices, list) or not all(isinstance(c, str) and normal(c) for c in choices):
        raise GoldError("gold.choices is not a list of texts")
    return gold, choices


def options_in(question: str) -> list[str]:
    """The options that a question lists as A, B, C, ...: one a line, or in a row behind (A), (B), (C)."""
    for pattern in (LINE, INLINE):
        texts: list[str] = []
        for found in pattern.finditer(question[-MAX_QUESTION:]):
            letter = found[1].upper()
            if letter == "A":
                texts = []  # the last list is the question's own: examples stand before it
            if letter == string.ascii_uppercase[min(len(texts), 25)]:
                texts.append(found[2].strip(" \t,;"))
        if len(texts) > 1:
            return texts
    return []


def normal(text: str) -> str:
    """Words alone, without case, marks and a leading article."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.findall(r"[^\W_]+(?:['’.,][^\W_]+)*|[+\-−<>=%$€£°]", folded)
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)
