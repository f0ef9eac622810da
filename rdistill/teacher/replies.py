"""One shape out of the many in which servers put a chat completion: reasoning, tool calls, ends, log-probabilities."""

from typing import Any

from rdistill.answers import normalise_reasoning
from rdistill.records import canonical_json
from rdistill.teacher.engine import UNCLEAR, Completion

ENDS = {
    "stop": ("stop", "eos", "eos_token", "stop_sequence", "stop_token", "end_turn", "complete", "completed"),
    "length": ("length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"),
    "content_filter": ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal"),
}
"""Our finish reasons, and what servers say for each, in small letters."""
CALLS = ("tool_calls", "tool_call", "tool_use", "function_call")
"""Said of a reply that ends with a call, which is whole."""
BROKEN_OFF = ("abort", "error", "cancelled", "insufficient_system_resource")
"""Said of a reply that is none: to be asked for again."""
ENDED = {said: ours for ours, many in ENDS.items() for said in many} | dict.fromkeys(CALLS, "stop")


def read_completion(reply: Any, seconds: float) -> Completion:
    """Normalise one chat-completions reply, wherever it puts reasoning, tool calls and log-probabilities.

    Raises: ValueError if it is not a chat completion, or the server broke it off.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = plain_text(message.get("content")) + "".join(map(call_as_text, message.get("tool_calls") or []))
        reasoning, text, finished = normalise_reasoning(
            text, plain_text(message.get("reasoning_content") or message.get("reasoning"))
        )
        steps = (choice.get("logprobs") or {}).get("content") or []
        usage = reply.get("usage") or {}
        finish_reason, fault = read_end(choice.get("finish_reason")) if finished else ("length", None)
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=finish_reason,
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            tokens=[plain_text(s["token"]) for s in steps] or None,
            logprobs=[s["logprob"] for s in steps] or None,
            seconds=seconds,
            fault=fault,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"the reply is no chat completion ({cause})") from None


def read_end(said: Any) -> tuple[str, str | None]:
    """Our finish reason for a server's, and a fault where that does not tell a whole reply from a cut one.

    Raises: ValueError if the server says that it broke the reply off.
    """
    if said is None or said == "":
        return "stop", None
    name = str(said).strip().lower()
    if name in BROKEN_OFF:
        raise ValueError(f"the server broke it off: finish_reason={name!r}")
    if name in ENDED:
        return ENDED[name], None
    fault = f"finish_reason={str(said)[:60]!r} is not known: have the server say 'stop' for a whole reply, 'length' for"
    return UNCLEAR, f"{fault} a cut one"


def plain_text(content: Any) -> str:
    """Text that UTF-8 can hold, from text or from a list of text parts."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return (content or "").encode("utf-8", "replace").decode()


def call_as_text(call: dict[str, Any]) -> str:
    """A structured tool call in the text protocol."""
    function = call["function"]
    arguments = function["arguments"]
    arguments = arguments if isinstance(arguments, str) else canonical_json(arguments)
    return f'<tool_call>{{"name": {canonical_json(function["name"])}, "arguments": {arguments or "{}"}}}</tool_call>'
