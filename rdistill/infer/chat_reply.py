"""A student's replies in the shapes of OpenAI's chat completions, whole or as chunks of a stream."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from rdistill.infer.chat_body import Asked, Refused
from rdistill.infer.concise import Reply
from rdistill.teacher.engine import REFUSED

DONE = "[DONE]"
BROKEN_OFF = ("abort", "error")
"""vLLM's finish reasons of a reply that is none."""


def checked(reply: Reply, max_model_len: int) -> Reply:
    """The reply. Raises: Refused if there is none, or the conversation left no room for one."""
    fault = reply.answer.fault
    if fault is not None:
        status, param = (400, "messages") if reply.finish_reason == REFUSED else (504, None)
        raise Refused(status, fault, param=param)
    if reply.finish_reason in BROKEN_OFF:
        raise Refused(503, "the engine broke this reply off; ask again", code="engine_failed")
    if not reply.answer.tokens and reply.prompt_tokens >= max_model_len:
        raise Refused(
            400,
            f"the conversation has {reply.prompt_tokens} tokens with the mode's prompt, this model takes "
            f"{max_model_len}, answer included; shorten it",
            param="messages",
            code="context_length_exceeded",
        )
    return reply


class Shapes:
    """The objects that answer one request; all carry its id and its time."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}

    def completion(self, replies: Sequence[Reply]) -> dict[str, Any]:
        """The whole answer. `rdistill` stands beside the choices, or in each where there are many."""
        choices: list[dict[str, Any]] = [
            {"index": i, "message": self._message(r), "logprobs": None, "finish_reason": finish_reason(r)}
            for i, r in enumerate(replies)
        ]
        found = {**self._head, "object": "chat.completion", "choices": choices, "usage": usage(replies)}
        if len(replies) == 1:
            return found | {"rdistill": about(replies[0])}
        for choice, reply in zip(choices, replies, strict=True):
            choice["rdistill"] = about(reply)
        return found

    def first_chunk(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""})

    def text_chunk(self, piece: str) -> dict[str, Any]:
        return self._chunk({"content": piece})

    def last_chunks(self, reply: Reply) -> list[dict[str, Any]]:
        """How it ended; then, where it was asked for, what it cost."""
        message = self._message(reply)
        delta = {"reasoning_content": message["reasoning_content"]} if "reasoning_content" in message else {}
        chunks = [self._chunk(delta, finish_reason(reply)) | {"rdistill": about(reply)}]
        if self._asked.include_usage:
            chunks.append({**self._chunk({}), "choices": [], "usage": usage([reply])})
        return chunks

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _message(self, reply: Reply) -> dict[str, Any]:
        message = {"role": "assistant", "content": reply.answer.answer}
        if self._asked.include_reasoning and reply.answer.mode != "explain":
            message["reasoning_content"] = reply.answer.reasoning  # type: ignore[assignment]
        return message


def usage(replies: Sequence[Reply]) -> dict[str, int]:
    """Tokens of the prompt, once, and of all answers."""
    prompt, written = replies[0].prompt_tokens, sum(reply.answer.tokens for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def about(reply: Reply) -> dict[str, Any]:
    """What OpenAI's fields have no place for."""
    answer = reply.answer
    return {"mode": answer.mode, "confidence": answer.confidence, "finished": answer.finished}


def finish_reason(reply: Reply) -> str:
    return "stop" if reply.answer.finished else "length"
