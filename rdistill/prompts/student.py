"""The messages a student sees: the same in training, evaluation and `ask`."""

from rdistill.config import Config
from rdistill.records import Message, Problem, StudentMode


def student_messages(problem: Problem, mode: StudentMode, config: Config) -> list[Message]:
    """The mode's system prompt (then the problem's own system text, if any), and the problem's other messages."""
    return with_mode_prompt(problem.messages, config.student.prompts[mode])


def with_mode_prompt(messages: list[Message], mode_prompt: str) -> list[Message]:
    """A conversation with the mode's system prompt first, its own system text after it."""
    system = [mode_prompt, *(m["content"] for m in messages if m["role"] == "system")]
    rest = [m for m in messages if m["role"] != "system"]
    return [{"role": "system", "content": "\n\n".join(text for text in system if text)}, *rest]
