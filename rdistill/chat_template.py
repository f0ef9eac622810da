"""A model's chat template is a stranger's program. Jinja's sandbox keeps it in, but it may compute for ever.

    try_template(tokenizer)  # before anything is rendered in this process

Not covered: a template that waits for a text, or a length, that the trial does not have.
"""

import multiprocessing
import os
import resource
import warnings
from typing import Any

from rdistill.errors import PrerequisiteError
from rdistill.records import Message

CPU_SECONDS = 2
MEMORY_GIB = 1
WALL_SECONDS = 60
"""Only where the child waits for something: on a busy machine its processor time takes longer."""
TOO_MUCH_MEMORY = 9


def try_template(tokenizer: Any) -> None:
    """Render a few conversations in a child process with limits; whether a conversation is taken is not judged.

    Raises: PrerequisiteError if the template takes more than CPU_SECONDS or MEMORY_GIB.
    """
    with warnings.catch_warnings():
        # Python 3.12 warns of threads: their locks stay locked in the child, which only renders, and is ended if stuck.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A fork has the tokenizer already, where a fresh interpreter would take seconds to load it.
        child = multiprocessing.get_context("fork").Process(target=_render_all, args=(tokenizer,))
        child.start()
    child.join(WALL_SECONDS)
    if child.exitcode is None:
        child.kill()
        child.join()
    if child.exitcode:
        limit = f"{MEMORY_GIB} GiB" if child.exitcode == TOO_MUCH_MEMORY else f"{CPU_SECONDS} s"
        raise PrerequisiteError(
            f"its chat template takes more than {limit} for a short conversation; mend it, or take another model"
        )


def _render_all(tokenizer: Any) -> None:
    """What the child does. It ends with code 0 unless a limit was met, whatever the template says."""
    with open("/proc/self/statm") as f:
        mapped = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (MEMORY_GIB << 30),) * 2)
    for messages in _conversations():
        try:
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=messages[-1]["role"] == "user"
            )
        except MemoryError:
            os._exit(TOO_MUCH_MEMORY)
        except Exception:  # a template may refuse a conversation, and raises what it likes
            continue
    os._exit(0)


def _conversations() -> list[list[Message]]:
    system: Message = {"role": "system", "content": "Be brief."}
    user: Message = {"role": "user", "content": "What is 2 + 2?"}
    assistant: Message = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\n#### 4"}
    tool: Message = {"role": "tool", "content": "4"}
    asked = [
        [user],
        [user, assistant],
        [user, assistant, user],
        [user, assistant, tool, assistant],
        [user, assistant] * 9,
    ]
    return [*asked, *([system, *messages] for messages in asked)]
