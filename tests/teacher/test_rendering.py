"""Control tokens that somebody writes into a message are text; only the chat template makes turns."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_student import make_student

from rdistill.teacher.rendering import chat_tokens, control_tokens

PARTS = ["<|im_start|>", "<|im_end|>", "<|im_", "start|>", "<", "|", "system\n", "assistant\n", "\ue000", "a ", "\n"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(make_student(tmp_path_factory.mktemp("student")))


def test_there_are_as_many_role_tokens_as_turns(tokenizer: Any) -> None:
    control, dice = control_tokens(tokenizer), random.Random(0)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    for _ in range(5000):
        roles = ["system", "user", "assistant", "user"][: dice.randrange(1, 5)]
        asked = [{"role": r, "content": "".join(dice.choices(PARTS, k=dice.randrange(6)))} for r in roles]
        ids = chat_tokens(tokenizer, asked, control)
        assert (ids.count(start), ids.count(end)) == (len(asked) + 1, len(asked)), asked
        assert tokenizer.decode(ids) == tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)


def test_plain_conversations_are_tokenised_as_ever(tokenizer: Any) -> None:
    asked = [{"role": "user", "content": "1 < 2 | <b>"}]
    ids = chat_tokens(tokenizer, asked, control_tokens(tokenizer))
    assert ids == tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]


def test_what_counts_as_control() -> None:
    class Added(SimpleNamespace):
        def __str__(self) -> str:
            return self.content

    def found(**added: bool) -> str | None:
        tokens = {n: Added(content=content, special=special) for n, (content, special) in enumerate(added.items())}
        pattern = control_tokens(SimpleNamespace(added_tokens_decoder=tokens))
        return pattern and pattern.pattern

    assert found(**{"<tool_call>": False, "x": True}) is None
    assert found(**{"<s>": True, "<|User|>": False}) == r"<(?=s>)|<(?=\|User\|>)"
    assert control_tokens(object()) is None
