"""Which option does a piece of a reply name? Exactly one, without a doubt, or none."""

import re
from typing import NamedTuple

from rdistill.verifiers.choice.options import LETTER, LETTER_TEXT, Options, normal

MAX_PIECE, MAX_PIECES = 300, 20
BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
DECLARED = re.compile(r"\b(?:answer|choice|option)(?: choice| option)?(?:\s+is\b\s*:?|\s*[:=])[\s*_]*", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<![\s(\[*][A-Za-z])(?<!^[A-Za-z])[.!?](?=[\s*\"']|$)")
REASON = re.compile(r"[,;]?\s*\b(?:because|since|as it|as they|which|due to|given that)\b.*", re.IGNORECASE | re.DOTALL)
MARKUP = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\b|\\boxed|[*_`$\\{}\"“”]")
# A letter that names an option: in brackets; after "option"; a capital before a mark, a joining word, another, the end.
NAMED = re.compile(
    r"[(\[]([A-Za-z])[)\]]"
    r"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)s?\s+([A-Za-z])(?![\w'’])"
    r"|(?<![\w'’.])([A-Z])(?=[).:,;/&|?]|\s*$|\s+(?:or|and|nor|is|but|not|also|vs|over|than|then)\b|[-–>\s]+[A-Z](?![\w'’]))"
)
DOUBT = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|may be|could be|either|neither|not|never|except|unsure|uncertain|"
    r"guess(?:ing)?|anything but|other than|rule[sd]? out|opposite of|isn['’]?t|cannot|can['’]?t|don['’]?t know|"
    r"unclear|undecided|hard to say)\b",
    re.IGNORECASE,
)


class Doubtful(ValueError):
    """More than one option is named, or one with a doubt; the message says how."""


class Named(NamedTuple):
    keys: set[str]
    doubt: str | None


def candidates(text: str) -> list[str]:
    """Where an undeclared choice may stand: in boxes and after "the answer is"; else in the first and last lines."""
    found = [m[1] for m in BOXED.finditer(text)] + [
        _sentence(text[m.end() : m.end() + MAX_PIECE]) for m in DECLARED.finditer(text)
    ]
    found = [piece for piece in (p.strip() for p in found) if piece]
    if found:
        return found[-MAX_PIECES:]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    edges = [line for line in dict.fromkeys((*lines[:1], *lines[-1:])) if len(line) <= MAX_PIECE]
    return edges if len(lines) > 1 else [piece for piece in edges[:1] if piece]


def _sentence(text: str) -> str:
    text = text.partition("\n")[0]
    end = SENTENCE_END.search(text)
    return text[: end.start()] if end else text


class Reading:
    """Reads pieces of text against the options of one question, or, where none are known, for letters or for text."""

    def __init__(self, options: Options, *, wants_text: bool = False) -> None:
        self.options, self.wants_text = options, wants_text
        self.by_length = sorted(options.key_of.items(), key=lambda item: -len(item[0]))
        shown = sorted({text for text in options.shown.values() if len(text) > 1}, key=len, reverse=True)
        self.texts = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, shown))})(?!\w)", re.IGNORECASE) if shown else None
        )

    def chosen(self, pieces: list[str]) -> str | None:
        """The one option that the pieces name, or None. Raises Doubtful."""
        read = [named for named in map(self.named, pieces) if named.keys]
        keys = {key for named in read for key in named.keys}
        if len(keys) > 1:
            raise Doubtful(f"{len(keys)} options: {', '.join(sorted(key[:40] for key in keys))}")
        if doubt := next((named.doubt for named in read if named.doubt), None):
            raise Doubtful(f"{doubt!r} beside {next(iter(keys))[:40]!r}")
        return keys.pop() if keys else None

    def named(self, piece: str) -> Named:
        """The options that a piece of text names, and the first word of doubt about them."""
        plain = MARKUP.sub(" ", piece[:MAX_PIECE]).strip(" .!,;:")
        if single := LETTER.fullmatch(plain):
            return Named({key} if (key := self.options.letter(single[1])) else set(), None)
        if (whole := self.options.key_of.get(normal(plain))) is not None:
            return Named({whole}, None)
        if self.wants_text:
            prefixed = LETTER_TEXT.fullmatch(plain)
            return Named({normal(prefixed[2] if prefixed else plain)} - {""}, None)
        plain = REASON.sub("", plain)
        bare = self.texts.sub(" | ", plain) if self.texts else plain
        keys = self.texts_in(plain) | {
            key for letter in self.letters_in(plain, bare) if (key := self.options.letter(letter))
        }
        doubt = DOUBT.search(bare)
        return Named(keys, doubt[0] if doubt else None)

    def letters_in(self, plain: str, bare: str) -> list[str]:
        """Letters that name an option, those within an option's text aside: the C of "A. vitamin C"."""
        letters = [m[1] or m[2] or m[3] for m in NAMED.finditer(bare)]
        start = re.match(r"([A-Z])\s+(.+)", plain, re.DOTALL)
        return [*letters, start[1]] if start and normal(start[2]) in self.options.key_of else letters

    def texts_in(self, plain: str) -> set[str]:
        """Options whose text stands in a piece, one within another's text aside."""
        keys, rest = set(), f" {normal(plain)} "
        for text, key in self.by_length:
            if f" {text} " in rest and (len(text) > 1 or text.isdigit()):
                keys.add(key)
                rest = rest.replace(f" {text} ", " | ")
        return keys
