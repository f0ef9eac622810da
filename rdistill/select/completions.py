"""What a student should write for a sample, in each mode, and the role of every character of it.

    explain   rationale, marker, answer          roles: rationale | answer (with what separates them); no traces
    direct    the answer alone                   roles: answer
    tool      the whole trace, results included  roles: rationale | tool_call | tool_result | answer

Spans cover each assistant turn exactly, end to end. A sample that cannot be written in a mode gives None.
"""

from typing import NamedTuple

from rdistill.answers import join_answer, split_answer
from rdistill.records import Message, Sample, Span, StudentMode
from rdistill.tools import result_turn
from rdistill.tools.calls import CLOSE, OPEN

FINAL_ROLES = ("answer", "revision")
WHOLE = "stop"


class Completion(NamedTuple):
    """New messages, and the spans of their characters; Span.message counts from the first new message."""

    messages: list[Message]
    spans: list[Span]

    def after(self, prompt: list[Message]) -> list[Span]:
        """The spans, counted from the start of prompt + completion."""
        return [span.model_copy(update={"message": span.message + len(prompt)}) for span in self.spans]

    @property
    def text(self) -> str:
        """All new text with white space normalised: equal texts teach the same."""
        return normalise("\n".join(m["content"] for m in self.messages))


def normalise(text: str) -> str:
    """White space runs become one space."""
    return " ".join(text.split())


def is_whole(sample: Sample) -> bool:
    """The model ended it by itself: not cut by a length limit, no tool call left unanswered."""
    return sample.finish_reason == WHOLE and not (sample.mode == "tool_trace" and OPEN in sample.text)


def complete(sample: Sample, mode: StudentMode, marker: str) -> Completion | None:
    """A sample as the student's completion in a mode, or None where the mode cannot use it."""
    if mode == "tool":
        return _tool(sample, marker) if sample.mode == "tool_trace" else None
    if mode == "direct":
        return _turns([[(sample.answer, "answer")]]) if sample.answer else None
    rationale = (sample.rationale or "").strip()
    if sample.mode == "tool_trace" or not rationale or OPEN in rationale or marker in rationale:
        return None
    if sample.answer is None:
        return _turns([[(rationale, "rationale")]])
    return _turns([_explained(rationale, sample.answer, marker)])


def _explained(rationale: str, answer: str, marker: str) -> list[tuple[str, str]]:
    """The answer's part starts right after the rationale: separator and marker belong to it."""
    return [(rationale, "rationale"), (join_answer(rationale, answer, marker)[len(rationale) :], "answer")]


def _turns(turns: list[list[tuple[str, str]]]) -> Completion:
    """Messages from their parts, each a text and its role; a tool's result is a user turn."""
    messages: list[Message] = []
    spans: list[Span] = []
    for number, parts in enumerate(turns):
        start = 0
        for text, role in parts:
            if text:
                spans.append(Span(message=number, start=start, end=start + len(text), role=role))  # type: ignore[arg-type]
            start += len(text)
        speaker = "user" if parts and parts[0][1] == "tool_result" else "assistant"
        messages.append({"role": speaker, "content": "".join(text for text, _ in parts)})
    return Completion(messages, spans)


def _tool(sample: Sample, marker: str) -> Completion | None:
    """The trace as it ran, each turn after its thinking; the last one is the answer, after its rationale."""
    turns: list[list[tuple[str, str]]] = []
    for message in sample.messages:
        content = message.get("content") or ""
        if message["role"] == "tool":
            turns.append([(result_turn(content)["content"], "tool_result")])
        else:
            turns.append(_thought(message, marker) + _call_parts(content.strip()))
    if not sample.messages or sample.messages[-1]["role"] != "assistant":
        return None
    if OPEN not in sample.text:
        rationale, answer = split_answer(sample.text, marker)
        answered = _explained(rationale, answer, marker) if answer else [(sample.text.strip(), "answer")]
        turns[-1] = _thought(sample.messages[-1], marker) + [part for part in answered if part[0]]
    return _turns(turns)


def _thought(message: Message, marker: str) -> list[tuple[str, str]]:
    """The thinking before a turn, on lines of its own; left out where it would be read as a call or an answer."""
    thought = (message.get("reasoning") or "").strip()
    if not thought or any(sign in thought for sign in (OPEN, CLOSE, marker)):
        return []
    return [(f"{thought}\n", "rationale")]


def _call_parts(text: str) -> list[tuple[str, str]]:
    """Split a turn into prose and <tool_call>...</tool_call>; an unclosed call runs to the end."""
    parts: list[tuple[str, str]] = []
    while text:
        start = text.find(OPEN)
        if start < 0:
            return [*parts, (text, "rationale")]
        close = text.find(CLOSE, start)
        end = len(text) if close < 0 else close + len(CLOSE)
        parts += [part for part in ((text[:start], "rationale"), (text[start:end], "tool_call")) if part[0]]
        text = text[end:]
    return parts
