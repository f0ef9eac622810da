"""A judge that is a program, behind a real OpenAI-compatible endpoint on a free local port."""

import json
from collections.abc import Callable
from typing import Any

from scripted import Endpoint

Judgement = Callable[[str, str], str]
"""System prompt and user prompt -> what the judge writes."""


class JudgeEndpoint(Endpoint):
    """Answers every request by `judge`; `asked_all` holds the (system, user) prompts in the order asked."""

    def __init__(self, judge: Judgement, *, finish_reason: str = "stop", **options: Any) -> None:
        super().__init__(**options)
        self.judge, self.finish_reason = judge, finish_reason
        self.asked_all: list[tuple[str, str]] = []

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self._lock:
            self.requests += 1
            number = self.requests
        if broken := self.broken(number):
            return broken
        system, user = ("", "") if len(body["messages"]) == 1 else (m["content"] for m in body["messages"])
        with self._lock:
            self.asked_all.append((system, user))
        message = {"role": "assistant", "content": self.judge(system, user)}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return 200, json.dumps({"choices": [choice], "usage": {}}).encode()


def honest(system: str, user: str) -> str:
    """Compares what follows the last #### of each reply with the reference; `Reply A` and `B` with `Gold: x`."""
    replies = marked(system, user)
    if "Reply A:" not in user:
        reference = user.partition("however it is worded:\n")[2].partition("\n\nReply:")[0]
        return f'I looked at it.\n{{"score": {10 if final(replies[0]) == reference else 1}}}'
    gold = user.partition("Gold: ")[2].split("\n", 1)[0]
    a, b = (final(reply) == gold for reply in replies)
    return json.dumps({"better": "tie" if a == b else "A" if a else "B"})


def marked(system: str, user: str) -> list[str]:
    """The texts between the marks."""
    mark = system.partition("hold the mark ")[2].partition(".")[0]
    return [text.removesuffix(mark).strip("\n") for text in user.split(f"{mark}\n")[1::2]] if mark else []


def final(reply: str) -> str:
    return reply.rpartition("####")[2].strip()
