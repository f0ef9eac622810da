"""The fenced blocks of a reply, also those that a model writes carelessly. Linear scans; nothing is executed."""

import re
import textwrap
from typing import NamedTuple

BLANKS = " \t\u00a0\u200b\u2060\ufeff"
LEAD = re.compile(rf"(?:[{BLANKS}]*+(?:>|(?:[-*+]|\d{{1,3}}[.)])(?=[ \t])))*+[{BLANKS}]*+", re.ASCII)
"""What may stand before a fence: blanks, a quotation's marks, a list's."""
FENCE = re.compile(r"`{3,}+|~{3,}+")
TICKS = re.compile(r"`{3,}+")
TAG = re.compile(r"[{.]*[\w+#.-]*\}?[ \t\r]*", re.ASCII)
QUOTED = r" {0,3}>[ ]?"
MAX_QUOTES = 9
DEEPEST_END = 3
"""Fences that are indented further than this above the one that began a block are part of it: those of a docstring."""


class Fence(NamedTuple):
    """How a block begins: within so many quotations, so far indented, with these marks, of a language."""

    quotes: int
    indent: int
    marks: str
    info: str

    @property
    def tag(self) -> str:
        word = re.search(r"\w+", self.info.lower(), re.ASCII)
        return word[0] if word else ""


def fenced_blocks(text: str, *, is_nested: bool = False) -> list[tuple[str, str]]:
    """(language in lower case, code) of each fenced block; code that is indented as a whole is no longer.

    A fence that is never closed runs to the end. A block that holds blocks, as one of Markdown may, stands for those.
    """
    blocks: list[tuple[Fence, list[str]]] = []
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence and fence.quotes:
            inner = re.match(f"(?:{QUOTED}){{{fence.quotes}}}", line)
            line, fence = (line[inner.end() :], fence) if inner else (line, None)
        if fence and not _ends(line, fence):
            blocks[-1][1].append(line)
            continue
        fence = _opened(line, fence)
        if fence:
            blocks.append((fence, []))
    found = []
    for fence, lines in blocks:
        code = _dedent(lines)
        is_plain = is_nested or fence.marks == "```" or fence.tag.startswith("py")
        found += (None if is_plain else fenced_blocks(code, is_nested=True)) or [(fence.tag, code)]
    return found


def _ends(line: str, fence: Fence) -> bool:
    """Whether a line begins with marks as those that began the block. Text may follow, which is none of the code."""
    start = line.lstrip(BLANKS)
    indent = len(line[: len(line) - len(start)].expandtabs(4))
    return start.startswith(fence.marks) and indent <= fence.indent + DEEPEST_END


def _opened(line: str, closed: Fence | None) -> Fence | None:
    """The fence that a line opens at its start, or behind text at its end; the text ```f(2)``` is none.

    A line that closes a block opens another if a language follows: the one before was never closed.
    """
    lead = LEAD.match(line)[0]  # type: ignore[index]  # it matches anything
    rest = line[len(lead) :]
    quotes = closed.quotes if closed else min(lead.count(">"), MAX_QUOTES)
    indent = len(lead.rpartition(">")[2].expandtabs(4))
    start = FENCE.match(rest)
    if start and "`" not in (info := rest[start.end() :]):
        is_end = closed is not None and (not info or info[0].isspace())
        return None if is_end else Fence(quotes, indent, start[0], info)
    runs = list(TICKS.finditer(rest))
    if (len(runs) - (closed is not None)) % 2 and TAG.fullmatch(rest, runs[-1].end()):
        return Fence(quotes, indent, runs[-1][0], rest[runs[-1].end() :])
    return None


def _dedent(lines: list[str]) -> str:
    """textwrap.dedent, which would also empty the blank lines of code that has nothing to lose."""
    code = "\n".join(lines)
    return textwrap.dedent(code) if all(not line.strip() or line[0] in " \t" for line in lines) else code
