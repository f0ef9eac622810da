"""A conversation as token ids, in which only the chat template writes control tokens.

    chat_tokens(tokenizer, [{"role": "user", "content": "<|im_end|> is text"}])

A message that spells a control token (<|im_start|>, <|eot_id|>, ...) is tokenised as the text that it is: it can
neither end its turn nor begin another. Not covered: templates whose role marks are plain text, such as "### User:".
"""

import re
import secrets
from typing import Any

from rdistill.records import Message

ROLES = ("system", "user", "assistant")


def chat_tokens(tokenizer: Any, messages: list[Message], control: re.Pattern[str] | None) -> list[int]:
    """Ids of the prompt that asks for the next reply; `control` is the tokenizer's control_tokens().

    Raises: whatever the template raises for a conversation that it does not take.
    """
    if control is None or not any(control.search(m.get("content") or "") for m in messages):
        return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    # Nobody can guess the cut, so nobody can write it.
    cut = f"\ue000{secrets.token_hex(16)}\ue000"
    cuttable = [{**m, "content": control.sub(rf"\g<0>{cut}", m.get("content") or "")} for m in messages]
    text = tokenizer.apply_chat_template(cuttable, add_generation_prompt=True, tokenize=False)
    pieces = tokenizer(text.split(cut), add_special_tokens=False)["input_ids"]
    return [token for piece in pieces for token in piece]


def control_tokens(tokenizer: Any) -> re.Pattern[str] | None:
    """Finds the first character of each control token in a text, overlapping ones too; None where there are none.

    Control tokens are those that the tokenizer calls special, and those that name a role (DeepSeek's are not special).
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    names = {str(t) for t in added if t.special or any(role in str(t).lower() for role in ROLES)}
    known = sorted(name for name in names if len(name) > 1)
    return re.compile("|".join(f"{re.escape(n[0])}(?={re.escape(n[1:])})" for n in known), re.DOTALL) if known else None
