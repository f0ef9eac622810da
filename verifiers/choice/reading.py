"""Which option does a piece of a reply name? Exactly one, without a doubt, or none."""

import re
from typing import NamedTuple

from rdistill.verifiers.choice.options import LETTER, LETTER_TEXT, Options, clean, normal

MAX_PIECE, MAX_PIECES = 300, 20
BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
DECLARED = re.compile(
    r"(?<!wrong )(?<!incorrect )(?<!false )"
    r"(?:\b(?:answer|choice|option)(?: choice| option)?(?:\s+is\b\s*:?|\s*[:=])"
    r"|答案(?:是|为|為|選|选)?\s*[:：]?)[\s*_]*",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<![\s(\[*][A-Za-z])(?<!^[A-Za-z])[.!?](?=[\s*\"']|$)|。")
REASON = re.compile(
    r"[,;]?\s*\b(?:because|since|as it|as they|which|due to|given that"
    r"|(?:while|whereas|unlike)\b(?!.*\b(?:also|too|right|correct|answer|may|might|could|possible)\b))\b.*",
    re.IGNORECASE | re.DOTALL,
)
OTHERS_WRONG = re.compile(
    r"[.;,]?\s*(?:\b(?:and|all|while|of)\s+){0,3}(?:\bthe )?\b(?:other|rest|remaining)\w*(?: \w+){0,4}? "
    r"(?:are|is) (?:all |also )?(?:wrong|incorrect|false|not \w+)",
    re.IGNORECASE,
)
# A letter that names an option: in brackets; after "option"; a capital before a mark, a joining word, another, the end.
NAMED = re.compile(
    r"[(\[]([A-Za-z])[)\]]"
    r"|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)s?\s+([A-Za-z])(?![\w'’])"
    r"|(?<![a-zA-Z0-9'’.])([A-Z])(?=[).:,;/&|?!]|\s*$|\s+(?:or|and|nor|is|but|not|also|vs|over|than|then|seems|looks)\b"
    r"|[-–>\s]+[A-Z](?![\w'’]))"
)
OPTION_DENIED = re.compile(
    r"[A-Z|][)\]]?\s+(?:(?:is|was|are|seems|would be)(?: \w+)? "
    r"(?:wrong|incorrect|false|inaccurate|invalid|mistaken|not|ruled out)|isn['’]?t)\b"
)
DENIED_AFTER = re.compile(
    r"\b(?:which|as it|since it|because it)(?: is|['’]s| seems) (?:\w+ )?"
    r"(?:wrong|incorrect|false|not (?:correct|right))",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|may be|could be|either|neither|not|never|except|unsure|uncertain|"
    r"guess(?:ing)?|(?:anything|everything|any|all|nothing|every\w* \w+) but|other than|rule[sd]? out|opposite of|"
    r"isn['’]?t|cannot|can['’]?t|don['’]?t know|unclear|undecided|hard to say|besides|exclud(?:e[sd]?|ing)|"
    r"eliminat(?:e[sd]?|ing)|discard(?:ed)?|reject(?:ed)?|doubt\w*|hardly|scarcely|lean(?:s|ing)?|is out|"
    r"low confidence|no (?=[(\[]?[a-z][)\]]?(?!\w)|\|)|non-)|\?\W*$",
    re.IGNORECASE,
)
DOUBT_UNLESS_ASKED = re.compile(
    r"\b(?:incorrect|wrong|false|inaccurate|invalid|mistaken|likely|unlikely|least)\b", re.IGNORECASE
)
"""Words that deny an option, unless the question asks for what is incorrect, likely or least."""
OPERATORS = frozenset("+*/^<>~¬|\\&∧∨⊕→↔⇒⇔×÷·±≤≥≠≈∪∩∈⊂⊆√∀∃−")


class Doubtful(ValueError):
    """More than one option is named, or one with a doubt; the message says how."""


class Named(NamedTuple):
    keys: set[str]
    doubt: str | None = None
    is_denied: bool = False


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
    """The first sentence, with the mark that ends it: it may be a factorial, or a question."""
    text = text.partition("\n")[0]
    end = SENTENCE_END.search(text)
    return text[: end.end()] if end else text


class Reading:
    """Reads pieces of text against the options of one question, or, where none are known, for letters or for text."""

    def __init__(self, options: Options, *, question: str = "", wants_text: bool = False) -> None:
        self.options, self.wants_text = options, wants_text
        self.asked = {word.lower() for word in DOUBT_UNLESS_ASKED.findall(question)}
        self.by_length = sorted(options.by_words.items(), key=lambda item: -len(item[0]))
        shown = sorted({clean(text).strip() for text in options.texts.values()} - {""}, key=len, reverse=True)
        shown = [text for text in shown if len(text) > 1]
        self.texts = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, shown))})(?!\w)", re.IGNORECASE) if shown else None
        )

    def chosen(self, pieces: list[str]) -> str | None:
        """The one option that the pieces name, or None. Raises Doubtful."""
        read = [named for named in map(self.named, pieces) if named.keys]
        sure = {key for named in read if not named.doubt for key in named.keys}
        read = [named for named in read if not (sure and named.is_denied and not named.keys & sure)]
        keys = {key for named in read for key in named.keys}
        if len(keys) > 1:
            raise Doubtful(f"{len(keys)} options: {', '.join(sorted(key[:40] for key in keys))}")
        if doubt := next((named.doubt for named in read if named.doubt), None):
            raise Doubtful(f"{doubt!r} beside {next(iter(keys))[:40]!r}")
        return keys.pop() if keys else None

    def named(self, piece: str) -> Named:
        """The options that a piece of text names, and the first word of doubt about them."""
        piece = piece[:MAX_PIECE].strip()
        plain = clean(piece).strip(" .!,;:。")
        single = LETTER.fullmatch(plain)
        keys = set(self.options.exactly(piece) or self.options.exactly(plain))
        if single and (key := self.options.letter(single[1])):
            keys.add(key)
        if keys:
            return Named(keys)
        if self.wants_text:
            prefixed = LETTER_TEXT.fullmatch(plain)
            return Named({normal(prefixed[2] if prefixed else plain)} - {""})
        if single and not self.options.texts:
            return Named(set())
        prefixed = LETTER_TEXT.fullmatch(piece.strip('*_`$"“” ')) or LETTER_TEXT.fullmatch(plain)
        if prefixed and (key := self.options.letter(prefixed[1])):
            if rest := self.options.called(prefixed[2]):
                return Named({key} if key in rest else {key, *rest})
        elif whole := self.options.called(piece) or self.options.called(plain):
            return Named(whole)
        return self.read_sentence(plain, piece)

    def read_sentence(self, plain: str, piece: str) -> Named:
        """The options that are named in a piece which says more than that."""
        told = OTHERS_WRONG.sub("", plain)
        said = REASON.sub("", told)
        bare = self.texts.sub(" | ", said) if self.texts else said
        keys = self.texts_in(said, piece) | {
            key for letter in self.letters_in(said, bare) if (key := self.options.letter(letter))
        }
        unasked = (m for m in DOUBT_UNLESS_ASKED.finditer(bare) if m[0].lower() not in self.asked)
        doubt = DENIED_AFTER.search(told) or DOUBT.search(bare) or next(unasked, None)
        return Named(
            keys, doubt[0].strip() if doubt else None, len(keys) == 1 and OPTION_DENIED.search(bare) is not None
        )

    def letters_in(self, plain: str, bare: str) -> list[str]:
        """Letters that name an option, those within an option's text aside: the C of "A. vitamin C"."""
        letters = [m[1] or m[2] or m[3] for m in NAMED.finditer(bare)]
        start = re.match(r"([A-Z])\s+(.+)", plain, re.DOTALL)
        return [*letters, start[1]] if start and self.options.called(start[2]) else letters

    def texts_in(self, plain: str, piece: str) -> set[str]:
        """Options whose text stands in a piece, one within another's text or within a formula aside."""
        keys: set[str] = set()
        rest = f" {normal(plain)} "
        for text, found in self.by_length:
            if (len(text) > 1 or text.isdigit()) and stands_in(text, rest):
                keys |= self.told_apart(found, piece) if len(found) > 1 else found
                rest = rest.replace(f" {text} ", " ; ")
        return keys

    def told_apart(self, keys: set[str], piece: str) -> set[str]:
        """Of options with the same words those whose very text stands in a piece; all of them, if none does."""
        found = set()
        for key in sorted(keys, key=lambda key: -len(self.options.texts[key])):
            shown = rf"(?<![^\s\"'“*$`:]){re.escape(self.options.texts[key])}(?=[.,;:!?]?(?:[\s\"'”*$`]|$))"
            if re.search(shown, piece):
                found.add(key)
                piece = re.sub(shown, ";", piece)
        return found or keys


def stands_in(text: str, words: str) -> bool:
    """Whether a text's words stand in others on their own: 5 does not in 5/6, nor in -5."""
    at = words.find(f" {text} ")
    while at >= 0:
        before, after = words[:at].split()[-1:], words[at + len(text) + 2 :].split()[:1]
        is_negative = before == ["-"] and text[:1].isdigit()
        is_first = after == ["-"] and text[-1:].isdigit()
        if not (is_negative or is_first or OPERATORS & {*before, *after}):
            return True
        at = words.find(f" {text} ", at + 1)
    return False
