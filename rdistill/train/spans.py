"""One renderer from chat messages and spans to token ids with a weight each, which proves itself on every example.

    rendered = render(tokenizer, messages, spans, SpanWeights())
    rendered.ids, rendered.weights

The tokenizer's own chat template writes the text. Every assistant turn must stand behind the very prompt that
generation would give the model, with each supervised character present and no token across the boundary; otherwise
the row is refused with a SpanError, whose `reason` is counted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rdistill.config import SpanWeights
from rdistill.errors import DataError
from rdistill.records import Message, Span

OTHER_REPLY = "\ue000"
"""A character that no reply holds: around it stands what a template writes by itself."""


class SpanError(DataError):
    """A row that cannot be supervised as its spans ask; `reason` is a short name to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, str(self))


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens. `starts` are character offsets of the tokens in `text`; all lists are (T,)."""

    text: str
    ids: list[int]
    weights: list[float]
    roles: list[str | None]
    starts: list[int]

    @property
    def num_supervised(self) -> int:
        return sum(w > 0 for w in self.weights)


@dataclass(frozen=True)
class _Region:
    """Characters [start, end) of the rendered text, and the role that they are supervised as."""

    start: int
    end: int
    role: str


def render(
    tokenizer: Any, messages: list[Message], spans: Sequence[Span], weights: SpanWeights, max_length: int | None = None
) -> Rendered:
    """Tokens and weights of one conversation.

    `tokenizer` is a fast tokenizer with a chat template. Prompt tokens weigh 0; the token that ends an assistant turn
    weighs as much as the turn's last span.
    Raises: SpanError with reason SPECIAL_TOKEN, TEMPLATE, NOT_PREFIX_PRESERVING, TEXT_LOST, NO_END_OF_TURN,
    TOKEN_STRADDLES_PROMPT, TOO_LONG or NOTHING_SUPERVISED.
    """
    _refuse_special_tokens(tokenizer, messages)
    text = _template(tokenizer, messages)
    regions, turns = _locate(tokenizer, messages, spans, text)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    if max_length is not None and len(ids) > max_length:
        raise SpanError("TOO_LONG", f"{len(ids)} tokens, max_length is {max_length}; raise it, or drop the row")
    for turn in turns:
        prompt = tokenizer(text[:turn], add_special_tokens=False)["input_ids"]
        if ids[: len(prompt)] != prompt:
            raise SpanError(
                "TOKEN_STRADDLES_PROMPT",
                "the prompt's tokens change when the reply follows; no leading blanks in replies, or another template",
            )
    roles = _roles(text, offsets, regions)
    by_role = weights.model_dump()
    rendered = Rendered(text, ids, [by_role[r] if r else 0.0 for r in roles], roles, [start for start, _ in offsets])
    if rendered.weights and rendered.weights[0]:
        raise SpanError("NOT_PREFIX_PRESERVING", "the first token is supervised, but nothing predicts it")
    if not rendered.num_supervised:
        raise SpanError("NOTHING_SUPERVISED", "no token has a weight above 0; check the spans and their weights")
    return rendered


def _refuse_special_tokens(tokenizer: Any, messages: list[Message]) -> None:
    """Text that reads as a control token would forge a turn."""
    special = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
    for message in messages:
        found = next((t for t in special if t in (message.get("content") or "")), None)
        if found:
            raise SpanError("SPECIAL_TOKEN", f"a {message['role']} message contains the control token {found!r}")


def _template(tokenizer: Any, messages: list[Message], generate: bool = False) -> str:
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
    except Exception as error:  # templates raise what they like: jinja errors, TypeError, ...
        reason = " ".join(str(error).split())[:200]
        hint = "; if it takes no system message, write student.prompts with {question}"
        asked = hint if any(message["role"] == "system" for message in messages) else ""
        raise SpanError("TEMPLATE", f"the chat template refuses the conversation ({reason}){asked}") from None


def _locate(
    tokenizer: Any, messages: list[Message], spans: Sequence[Span], text: str
) -> tuple[list[_Region], list[int]]:
    """Where each span stands in the rendered text, and where each supervised reply starts."""
    regions, turns, cursor = [], [], 0
    for index, message in enumerate(messages):
        own = sorted((s for s in spans if s.message == index and s.end > s.start), key=lambda s: s.start)
        if not own:
            continue
        if message["role"] == "assistant":
            start, found = _reply(tokenizer, messages, index, own, text)
            turns.append(start)
        else:
            offset, kept = _find_content(message, text, cursor, len(text))
            found = _regions(own, offset, kept)
        regions += found
        cursor = max(region.end for region in found)
    return regions, turns


def _reply(
    tokenizer: Any, messages: list[Message], index: int, own: list[Span], text: str
) -> tuple[int, list[_Region]]:
    """Start of an assistant turn, and its regions: whatever the model must write itself, to the end of the turn.

    What the template puts between the generation prompt and the content (a blank, an empty <think> block) belongs to
    the first span, and the token that ends the turn to the last, if these reach there.
    """
    before = _template(tokenizer, messages[:index], generate=True)
    through = _template(tokenizer, messages[: index + 1]) if index + 1 < len(messages) else text
    rewritten = SpanError(
        "NOT_PREFIX_PRESERVING",
        f"the chat template writes turn {index} differently when the chat goes on or is generated; "
        "use a template that keeps earlier turns as they were",
    )
    if not text.startswith(before):
        raise rewritten
    start, end = len(before), _common_length(through, text)
    try:
        offset, kept, turn_end = _find_reply(tokenizer, messages[index], text, start, end)
    except SpanError:
        if end < len(through):
            raise rewritten from None
        raise
    content = text[offset + kept[0] : offset + kept[1]]
    other = _template(tokenizer, [*messages[:index], {**messages[index], "content": OTHER_REPLY}])[start:]
    if text.count(content, start, turn_end) <= other.count(content):
        raise _text_lost(messages[index])  # it stands there, but the template writes it whatever the reply is
    regions = _regions(own, offset, kept)
    if own[0].start <= kept[0]:
        regions.insert(0, _Region(start, offset + kept[0], own[0].role))
    if own[-1].end >= kept[1]:
        regions.append(_Region(offset + kept[1], turn_end, own[-1].role))
    return start, regions


def _common_length(a: str, b: str) -> int:
    """Characters that two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _regions(own: list[Span], offset: int, kept: tuple[int, int]) -> list[_Region]:
    """The spans of one message as regions of the text, cut to what the template kept of it."""
    return [_Region(offset + max(s.start, kept[0]), offset + min(s.end, kept[1]), s.role) for s in own]


def _find_reply(tokenizer: Any, message: Message, text: str, start: int, end: int) -> tuple[int, tuple[int, int], int]:
    """As _find_content, and the end of the turn: the first place of the content that the turn ends behind."""
    offset, kept = _find_content(message, text, start, end)
    while True:
        try:
            return offset, kept, _end_of_turn(tokenizer, text, offset + kept[1], end)
        except SpanError as error:
            try:
                offset, kept = _find_content(message, text, offset + kept[0] + 1, end)
            except SpanError:
                raise error from None


def _find_content(message: Message, text: str, start: int, end: int) -> tuple[int, tuple[int, int]]:
    """Offset to add to positions in the content, and the range of it that the template kept (it may strip blanks)."""
    content = message.get("content") or ""
    stripped = content.strip()
    lead = len(content) - len(content.lstrip())
    for candidate, shift in ((content, 0), (stripped, lead)):
        found = text.find(candidate, start, end)
        if found >= 0 and candidate:
            return found - shift, (shift, shift + len(candidate))
    raise _text_lost(message)


def _text_lost(message: Message) -> SpanError:
    text = (message.get("content") or "").strip()
    shown = text if len(text) <= 60 else text[:57] + "..."
    return SpanError("TEXT_LOST", f"the chat template drops or rewrites text of the {message['role']} turn ({shown!r})")


def _end_of_turn(tokenizer: Any, text: str, start: int, end: int) -> int:
    """Where the first control token after the content ends."""
    special = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special} | {tokenizer.eos_token or ""}
    ends = [(text.find(t, start, end), len(t)) for t in special if t]
    found = min((e for e in ends if e[0] >= 0), default=None)
    if found is None or text[start : found[0]].strip():
        raise SpanError(
            "NO_END_OF_TURN", "the chat template ends the reply with no control token; the model could not stop"
        )
    return sum(found)


def _roles(text: str, offsets: list[tuple[int, int]], regions: list[_Region]) -> list[str | None]:
    """Role of each token: that of its last supervised character. Raises SpanError if a character has no token."""
    of_char: list[str | None] = [None] * len(text)
    for region in regions:
        of_char[region.start : region.end] = [region.role] * (region.end - region.start)
    covered = [False] * len(text)
    roles = []
    for start, end in offsets:
        covered[start:end] = [True] * (end - start)
        roles.append(next((r for r in reversed(of_char[start:end]) if r), None))
    lost = next((i for i, r in enumerate(of_char) if r and not covered[i] and not text[i].isspace()), None)
    if lost is not None:
        raise SpanError("TEXT_LOST", f"the tokenizer has no token for {text[lost]!r} at character {lost}")
    return roles


def weighted_pieces(rendered: Rendered) -> list[tuple[str, float, str | None]]:
    """The text in pieces of equal weight and role, in order, for display: (text, weight, role)."""
    pieces: list[tuple[str, float, str | None]] = []
    bounds = [*rendered.starts[1:], len(rendered.text)]
    begin = 0
    for i, (end, weight, role) in enumerate(zip(bounds, rendered.weights, rendered.roles, strict=True)):
        last = i + 1 == len(bounds)
        if last or (rendered.weights[i + 1], rendered.roles[i + 1]) != (weight, role):
            pieces.append((rendered.text[begin:end], weight, role))
            begin = end
    return pieces


def check_template(tokenizer: Any) -> Rendered:
    """Render a small conversation.

    Raises: SpanError if the template loses, rewrites or cannot end a reply.
    """
    if not getattr(tokenizer, "is_fast", False) or not tokenizer.chat_template:
        raise SpanError("TEMPLATE", "training needs a fast tokenizer with a chat template; this one lacks it")
    question = {"role": "user", "content": "What is 2 + 2?"}
    rationale, answer = "Two and two make four.", "\n#### 4"
    reply = {"role": "assistant", "content": rationale + answer}
    spans = [
        Span(message=1, start=0, end=len(rationale), role="rationale"),
        Span(message=1, start=len(rationale), end=len(rationale + answer), role="answer"),
    ]
    return render(tokenizer, [question, reply], spans, SpanWeights())


def parse_messages(text: str) -> list[Message]:
    """Chat messages from a JSON column. Raises DataError if it holds anything else."""
    messages = json.loads(text)
    if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise DataError(f"messages column holds {text[:60]!r}, expected a JSON list of chat messages")
    return messages


def parse_spans(text: str) -> list[Span]:
    """Spans from a JSON column."""
    return [Span.model_validate(s) for s in json.loads(text)]
