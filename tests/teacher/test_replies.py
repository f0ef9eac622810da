"""How a reply ended, in the words of many servers."""

import pytest

from rdistill.teacher.replies import read_completion

WHOLE = "stop STOP eos eos_token stop_sequence end_turn tool_calls function_call tool_use COMPLETE"
CUT = "length max_tokens MAX_TOKENS model_length"
FILTERED = "content_filter SAFETY RECITATION refusal"


def ended(said: object) -> tuple[str, str | None]:
    found = read_completion({"choices": [{"message": {"content": "#### 2"}, "finish_reason": said}]}, 0.0)
    assert found.text == "#### 2"
    return found.finish_reason, found.fault


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("stop", [*WHOLE.split(), None]), ("length", CUT.split()), ("content_filter", FILTERED.split())],
)
def test_every_servers_word_for_an_end_is_understood(ours: str, theirs: list) -> None:
    assert {said: ended(said) for said in theirs} == {said: (ours, None) for said in theirs}


def test_an_end_that_is_not_known_is_named() -> None:
    finish_reason, fault = ended("d\x1bone")
    assert finish_reason == "unclear"
    assert fault is not None and fault.startswith(r"finish_reason='d\x1bone' is not known: have the server say 'stop'")


@pytest.mark.parametrize("said", ["abort", "error"])
def test_a_reply_that_the_server_broke_off_is_none(said: str) -> None:
    with pytest.raises(ValueError, match=f"the server broke it off: finish_reason='{said}'"):
        ended(said)
