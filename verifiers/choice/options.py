"""The options of a multiple-choice question, and the gold answer among them."""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

MAX_QUESTION = 50_000
LISTS = (
    re.compile(r"^[ \t]*(?:[-*][ \t]+)?\**\(?([A-Za-z])(?:[).:]\**|\*+[).:])[ \t]+(\S[^\n]*)$", re.MULTILINE),
    re.compile(r"\(([A-Za-z])\)[ \t]*([^()\n]+)"),
    re.compile(r"(?<![\w(])([A-Z])\)[ \t]*([^()\n]+?)(?=[ \t,;]+[A-Z]\)|[ \t]*$)", re.MULTILINE),
)
"""A list: one a line; in a row behind (A), (B), (C); in a row behind A), B), C)."""
LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*")
LETTER_TEXT = re.compile(r"[(\[]?([A-Za-z])(?:[)\].:]+\s+|[)\].]*\s+[-–—:]\s+)(.+)", re.DOTALL)
MATH = re.compile(r"\$(\S(?:[^$\n]*\S)?)\$(?!\d)|\\\((.*?)\\\)")
TAG = re.compile(r"</?(?:b|i|u|em|strong|p|span|code|answer|final_answer|choice|option|response|result)>")
MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\b|\\boxed|[*_`\\{}\"“”【】「」『』]")
ARTICLE = re.compile(r"\W*(?:[Aa]n|[Tt]he|THE|a|A(?=\s+[a-z]))\s+(?=\w)")
TOKEN = re.compile(r"[^\W_]+(?:['’.,][^\W_]+)*|[^\w\s.,;:!?'’‘()…•–—。、]")
EMOJI_MARK = "\ufe0f"


class GoldError(ValueError):
    """The gold answer cannot be used; the message says why."""


class Options:
    """Option texts by letter; empty where nobody knows them. Of options with the same text the first one counts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = dict(zip(string.ascii_uppercase, texts, strict=False))
        if len(texts) > len(self.texts):  # too many for letters: each is called by its text
            self.texts = {exact(text): text for text in texts}
        self._keys_of = [_keys_of(self.texts, form) for form in (exact, tight, normal)]
        self.by_words = self._keys_of[-1]

    def letter(self, letter: str) -> str | None:
        """The option that a letter names, or None."""
        key = letter.upper()
        if not self.texts:
            return key
        return min(self._keys_of[0][exact(self.texts[key])]) if key in self.texts else None

    def exactly(self, text: str) -> set[str]:
        """The option that has this very text, if any."""
        return self._keys_of[0].get(exact(text), set())

    def called(self, text: str) -> set[str]:
        """The options with this text: to the letter, else without blanks and marks around it, else by its words."""
        for form, keys_of in zip((exact, tight, normal), self._keys_of, strict=True):
            if keys := keys_of.get(form(text)):
                return keys
        return set()

    def find(self, gold: str) -> str:
        """The option that a gold answer names; its normalised text where no options are known. Raises GoldError."""
        gold = gold.strip()
        single, prefixed = LETTER.fullmatch(gold), LETTER_TEXT.fullmatch(gold)
        named = set(self.exactly(gold))
        if single and (key := self.letter(single[1])):
            named.add(key)
        elif not named and prefixed and (rest := self.called(prefixed[2])) and (key := self.letter(prefixed[1])):
            named = {key} if key in rest else {key, *rest}
        elif not named:
            named = self.called(gold)
        if len(named) > 1:
            raise GoldError(f"gold {gold[:80]!r} may be any of the options {', '.join(sorted(named))[:80]}")
        if named:
            return named.pop()
        if self.texts or len(normal(gold)) < 2:
            raise GoldError(f"gold {gold[:80]!r} is none of the {len(self.texts)} options")
        return normal(prefixed[2] if prefixed else gold)

    def show(self, key: str) -> str:
        return f"{key} ({self.texts[key][:80]})" if len(key) == 1 and key in self.texts else repr(key[:80])


def _keys_of(texts: dict[str, str], form: Callable[[str], str]) -> dict[str, set[str]]:
    """Options by a form of their text; one whose very text an earlier one has counts as that one."""
    first = {exact(text): key for key, text in reversed(texts.items())}
    found: dict[str, set[str]] = {}
    for text in texts.values():
        if name := form(text):
            found.setdefault(name, set()).add(first[exact(text)])
    return found


def split_gold(gold: Any) -> tuple[str, list[str]]:
    """A gold answer and the options that came with it: "C", "Paris", or {"answer": ..., "choices": [...]}."""
    choices: Any = []
    if isinstance(gold, dict) and {"answer", "choices"} == gold.keys():
        gold, choices = gold["answer"], gold["choices"]
    if not isinstance(gold, str) or not gold.strip():
        raise GoldError(f"gold is {str(gold)[:80]!r}, expected a letter or an option's text")
    if not isinstance(choices, list) or not all(isinstance(c, str) and c.strip() for c in choices):
        raise GoldError("gold.choices is not a list of texts")
    return gold, choices


def options_in(question: str) -> list[str]:
    """The options that a question lists as A, B, C, ..."""
    for pattern in LISTS:
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


def exact(text: str) -> str:
    """A text but for its blanks: options that differ in a symbol, a bracket or a capital are two."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def tight(text: str) -> str:
    """A text without any blanks, and without quotation marks, emphasis and a full stop around it."""
    return "".join(MATH.sub(r"\1\2", exact(text)).split()).strip('*_`"“”.,;:')


def clean(text: str) -> str:
    """A text without markup, emoji and invisible characters, wide letters made narrow."""
    text = unicodedata.normalize("NFKC", TAG.sub(" ", MATH.sub(r"\1\2", text)))
    return MARKUP.sub(" ", "".join(c for c in text if unicodedata.category(c) not in ("So", "Cf") and c != EMOJI_MARK))


def normal(text: str) -> str:
    """Words and symbols alone, without case, marks and a leading article."""
    text = clean(text)
    words = TOKEN.findall(text.casefold())
    return " ".join(words[1:] if len(words) > 1 and ARTICLE.match(text) else words)
