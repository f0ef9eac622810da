"""The boxes of a reply: \\boxed{...}, \\fbox{...}, also where a backslash or the braces are missing."""

import re

from rdistill.verifiers.math.declared import Stated

LIST_BETWEEN = re.compile(r"(?:\s|\$|,|;|or\b|and\b|\\q?quad|\\[,;:()\[\] ]|\\text\s*\{\s*(?:or|and|,)?\s*\})*")
LIST_WORD = re.compile(r",|;|or|and")
MAX_BETWEEN = 40
NAME_BEFORE = re.compile(r"(?:(?<![A-Za-z\\])[A-Za-z]|\\[a-z]{2,7})(?:_\{\w{1,3}\}|_\w)?\s*=\s*$")
BOX = re.compile(r"\\{1,2}(?:boxed|fbox|framebox)\s{0,3}\{")
BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s+(-?[0-9]+(?:[.,][0-9]+)*|[A-Za-z](?![A-Za-z]))")
NO_BACKSLASH = re.compile(r"(?<![\\A-Za-z])boxed ?(?:\{|\(([^(){}\n]{1,80})\))|\x08oxed\{")


def spell_boxes(text: str) -> str:
    """A text with its boxes in one spelling: \\boxed 5, boxed(5), boxed{5} and what is left of "\\b" read as a sign."""
    if "box" not in text and "oxed{" not in text:
        return text
    text = BARE_BOX.sub(r"\\boxed{\1}", text)
    return NO_BACKSLASH.sub(lambda m: f"\\boxed{{{m[1]}}}" if m[1] else "\\boxed{", text)


def listed_boxes(text: str) -> list[str]:
    """Contents of every box, as of stated_boxes."""
    return [box.text for box in stated_boxes(spell_boxes(text))]


def stated_boxes(text: str) -> list[Stated]:
    """Every box of a spelt text; those with only a comma, "and" or "or" between them as one list.

    "\\boxed{2} and \\boxed{3}" is "2, 3"; "x = \\boxed{2}, y = \\boxed{3}" is "x = 2, y = 3".
    """
    found: list[tuple[list[str], int, int]] = []
    last_name, last_end = "", len(text)
    for opened, start, end in box_spans(text):
        value = text[start:end].strip()
        match = NAME_BEFORE.search(text[max(0, opened - MAX_BETWEEN) : opened])
        name = match[0] if match else ""
        between = text[last_end + 1 : opened].removesuffix(name)
        if found and len(between) <= MAX_BETWEEN and LIST_BETWEEN.fullmatch(between) and LIST_WORD.search(between):
            parts, first, _ = found.pop()
            if len(parts) == 1:
                parts[0] = last_name + parts[0]
            parts += [" or " if "or" in between else ", ", name + value]
            found.append((parts, first, end))
        else:
            found.append(([value], opened, end))
        last_name, last_end = name, end
    return [Stated("".join(parts), opened, end + 1) for parts, opened, end in found]


def box_spans(text: str) -> list[tuple[int, int, int]]:
    """(where it opens, where its contents start and end) of every closed, outermost \\boxed{...} or \\fbox{...}."""
    if "box" not in text:
        return []
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
