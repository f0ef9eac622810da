"""The declared answer format: a rationale, then a marker, then the final answer.

    Tom has 3 apples and buys 4. 3 + 4 = 7.
    #### 7

Linear string scans only: model text is hostile.
"""

from typing import NamedTuple

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


class Parts(NamedTuple):
    """A completion split in two; `answer` is None where the marker is missing."""

    rationale: str
    answer: str | None


def split_answer(text: str, marker: str) -> Parts:
    """Split at the last marker; the answer is the rest of that line.

    A line that ends in a colon is a heading ("#### Final answer:" is Markdown too), and declares none.
    """
    head, found, tail = text.rpartition(marker)
    if not found:
        return Parts(text.strip(), None)
    answer = tail.strip().split("\n", 1)[0].strip().removesuffix(".")
    if answer.rstrip("*_ ").endswith((":", "：")):
        return Parts(text.strip(), None)
    return Parts(head.strip(), answer or None)


def join_answer(rationale: str, answer: str, marker: str) -> str:
    """The inverse of split_answer."""
    return f"{rationale}\n{marker} {answer}" if rationale else f"{marker} {answer}"


def normalise_reasoning(text: str, reasoning: str | None = None) -> tuple[str | None, str, bool]:
    """Separate thinking from the reply, wherever the server put it.

    Returns (reasoning, text, finished): `finished` is False where a <think> was opened and never closed, so that what
    follows is not an answer. A lone </think> (the template opened it in the prompt) counts as a close.
    """
    if reasoning:
        return reasoning.strip(), text.strip(), True
    head, closed, tail = text.rpartition(THINK_CLOSE)
    if THINK_OPEN in tail:
        return _untagged(text), "", False
    return (_untagged(head), tail.strip(), True) if closed else (None, text.strip(), True)


def _untagged(text: str) -> str:
    return text.replace(THINK_OPEN, "").replace(THINK_CLOSE, "").strip()


class ShownText:
    """Of a reply that grows: what may be shown already, which is neither thinking nor blanks that may be the last.

    `head` is what the prompt has begun the reply with. The pieces together are the text of normalise_reasoning, unless
    thinking is found behind what was shown.
    """

    def __init__(self, head: str = "") -> None:
        self._raw, self._shown = head, ""

    def add(self, piece: str) -> str:
        """The part of the text that this piece makes sure of."""
        self._raw += piece
        lead = self._raw.lstrip()
        if len(lead) < len(THINK_OPEN) and THINK_OPEN.startswith(lead):
            return ""
        return self.rest(normalise_reasoning(self._raw)[1])

    def rest(self, text: str) -> str:
        """What is left to show of the text."""
        piece = text[len(self._shown) :] if text.startswith(self._shown) else ""
        self._shown += piece
        return piece
